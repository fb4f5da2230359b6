//! capnp-rpc's side: an object, and calls without a schema.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::{
    Client, DispatchCallResult, FromClientHook, FromServer, Params, Promise, Request, Results,
    Server,
};
use capnp::private::capability::ClientHook;

use crate::{CALL_BACK, ECHO, FAIL, HANG, INTERFACE, REFLECT, fill, look};

#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) seen: RefCell<Vec<u64>>,
    /// Calls that will never be answered.
    pub(crate) hanging: Cell<usize>,
}

/// One of those.
struct Hanging(Rc<Peer>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.set(self.0.hanging.get() - 1);
    }
}

#[derive(Clone)]
pub(crate) struct Dispatch(Rc<Peer>);

impl Deref for Dispatch {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

#[derive(Clone)]
pub(crate) struct Raw(pub(crate) Client);

impl FromClientHook for Raw {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self(Client::new(hook))
    }

    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.0.hook
    }

    fn as_client_hook(&self) -> &dyn ClientHook {
        &*self.0.hook
    }
}

impl FromServer<Peer> for Raw {
    type Dispatch = Dispatch;

    fn from_server(server: Rc<Peer>) -> Dispatch {
        Dispatch(server)
    }
}

pub(crate) type Call = Request<any_pointer::Owned, any_pointer::Owned>;

pub(crate) fn request(
    hook: &dyn ClientHook,
    method: u16,
    number: u64,
    cap: Option<Box<dyn ClientHook>>,
) -> Call {
    let mut request = hook.new_call(INTERFACE, method, None);
    fill(request.get(), number, cap);
    request
}

impl Server for Dispatch {
    fn dispatch_call(
        self,
        interface: u64,
        method: u16,
        params: Params<any_pointer::Owned>,
        mut results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        assert_eq!(interface, INTERFACE);
        let (number, cap) = look(params.get().unwrap());
        self.seen.borrow_mut().push(number);
        let promise = match method {
            ECHO => {
                fill(results.get(), number + 1, None);
                Promise::ok(())
            }
            CALL_BACK => {
                let call = request(&*cap.unwrap(), ECHO, number, None);
                Promise::from_future(async move {
                    let answer = call.send().promise.await?;
                    fill(results.get(), look(answer.get()?).0, None);
                    Ok(())
                })
            }
            REFLECT => {
                let own: Raw = capnp_rpc::new_client(Peer::default());
                fill(results.get(), number, Some(cap.unwrap_or(own.0.hook)));
                Promise::ok(())
            }
            HANG => {
                self.hanging.set(self.hanging.get() + 1);
                let held = (Hanging(self.0), cap);
                Promise::from_future(async move {
                    futures::future::pending::<()>().await;
                    drop(held);
                    Ok(())
                })
            }
            FAIL => Promise::err(capnp::Error::overloaded("no room at the inn".to_owned())),
            _ => Promise::err(capnp::Error::unimplemented("what is that".to_owned())),
        };
        DispatchCallResult::new(promise, false)
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}
