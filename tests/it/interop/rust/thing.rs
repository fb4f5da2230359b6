//! What capnp-rpc offers: an object with every method of the interface.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use capnp_rpc::{new_client, new_future_client};
use futures::channel::oneshot;

use super::calls::echo;
use crate::peer_capnp::peer::{self, Client};

#[derive(Default)]
pub(super) struct Thing {
    /// How many objects there are that it made.
    live: Rc<Cell<u64>>,
    _counted: Option<Counted>,
    pub(super) recorded: RefCell<Vec<u64>>,
    later: RefCell<Vec<oneshot::Sender<Client>>>,
    hanging: RefCell<Vec<oneshot::Sender<()>>>,
    finished: Cell<u64>,
    kept: RefCell<Vec<Client>>,
}

/// One object more, as long as it is there.
struct Counted(Rc<Cell<u64>>);

impl Counted {
    fn new(live: &Rc<Cell<u64>>) -> Self {
        live.set(live.get() + 1);
        Self(Rc::clone(live))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Thing {
    pub(super) fn counted(live: &Rc<Cell<u64>>) -> Client {
        new_client(Self {
            _counted: Some(Counted::new(live)),
            ..Self::default()
        })
    }
}

fn gone<E>(_: E) -> capnp::Error {
    capnp::Error::failed("the object is gone".to_owned())
}

impl peer::Server for Thing {
    async fn echo(
        self: Rc<Self>,
        params: peer::EchoParams,
        mut results: peer::EchoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_number() + 1);
        Ok(())
    }

    async fn bytes(
        self: Rc<Self>,
        params: peer::BytesParams,
        mut results: peer::BytesResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_data()?);
        Ok(())
    }

    async fn call_back(
        self: Rc<Self>,
        params: peer::CallBackParams,
        mut results: peer::CallBackResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let value = echo(&params.get_peer()?, params.get_number()).await?;
        results.get().set_value(value);
        Ok(())
    }

    async fn reflect(
        self: Rc<Self>,
        params: peer::ReflectParams,
        mut results: peer::ReflectResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_peer()?);
        Ok(())
    }

    async fn make(
        self: Rc<Self>,
        params: peer::MakeParams,
        mut results: peer::MakeResults,
    ) -> Result<(), capnp::Error> {
        let count = params.get()?.get_count();
        let mut list = results.get().init_value(count);
        for index in 0..count {
            list.set(index, Self::counted(&self.live).client.hook);
        }
        Ok(())
    }

    async fn live(
        self: Rc<Self>,
        _: peer::LiveParams,
        mut results: peer::LiveResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(self.live.get());
        Ok(())
    }

    async fn record(
        self: Rc<Self>,
        params: peer::RecordParams,
        _: peer::RecordResults,
    ) -> Result<(), capnp::Error> {
        self.recorded.borrow_mut().push(params.get()?.get_number());
        Ok(())
    }

    async fn recorded(
        self: Rc<Self>,
        _: peer::RecordedParams,
        mut results: peer::RecordedResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(&self.recorded.borrow()[..])
    }

    async fn fail(
        self: Rc<Self>,
        params: peer::FailParams,
        _: peer::FailResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let text = params.get_text()?.to_string()?;
        Err(match params.get_kind() {
            0 => capnp::Error::failed(text),
            1 => capnp::Error::overloaded(text),
            2 => capnp::Error::disconnected(text),
            _ => capnp::Error::unimplemented(text),
        })
    }

    /// A promise, which is returned at once.
    async fn later(
        self: Rc<Self>,
        _: peer::LaterParams,
        mut results: peer::LaterResults,
    ) -> Result<(), capnp::Error> {
        let (sender, receiver) = oneshot::channel();
        self.later.borrow_mut().push(sender);
        let promise: Client = new_future_client(async { receiver.await.map_err(gone) });
        results.get().set_value(promise);
        Ok(())
    }

    async fn settle(
        self: Rc<Self>,
        params: peer::SettleParams,
        _: peer::SettleResults,
    ) -> Result<(), capnp::Error> {
        let settled = params.get()?.get_peer()?;
        for later in self.later.take() {
            drop(later.send(settled.clone()));
        }
        for hanging in self.hanging.take() {
            let _: Result<(), ()> = hanging.send(()); // who called may be gone
        }
        Ok(())
    }

    async fn hang(
        self: Rc<Self>,
        _: peer::HangParams,
        mut results: peer::HangResults,
    ) -> Result<(), capnp::Error> {
        let (sender, receiver) = oneshot::channel();
        self.hanging.borrow_mut().push(sender);
        receiver.await.map_err(gone)?;
        self.finished.set(self.finished.get() + 1);
        results.get().set_value(self.finished.get());
        Ok(())
    }

    async fn finished(
        self: Rc<Self>,
        _: peer::FinishedParams,
        mut results: peer::FinishedResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(self.finished.get());
        Ok(())
    }

    async fn keep(
        self: Rc<Self>,
        params: peer::KeepParams,
        _: peer::KeepResults,
    ) -> Result<(), capnp::Error> {
        for kept in params.get()?.get_peers()? {
            self.kept.borrow_mut().push(kept?);
        }
        Ok(())
    }

    async fn let_go(
        self: Rc<Self>,
        _: peer::LetGoParams,
        mut results: peer::LetGoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(self.kept.take().len() as u64);
        Ok(())
    }
}
