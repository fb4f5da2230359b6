use vat::prelude::*;

#[vat::interface]
trait Methods {
    fn no_result(&self, turn: &Turn);
    fn bare_value(&self, turn: &Turn) -> u64;
    fn no_turn(&self, amount: u64) -> Result<u64>;
    fn by_value(self, turn: &Turn) -> Result<()>;
    fn no_self(turn: &Turn) -> Result<()>;
    async fn borrowed_self(&self, cx: &Cx) -> Result<()>;
    async fn no_cx(this: Near<Self>) -> Result<()>;
    async fn borrowed_text(this: Near<Self>, cx: &Cx, name: &str) -> Result<()>;
    fn generic<T>(&self, turn: &Turn, value: T) -> Result<()>;
    fn borrowed_list(&self, turn: &Turn, values: &[u64]) -> Result<()>;
    fn pair(&self, turn: &Turn, pair: (u64, u64)) -> Result<()>;
    fn pattern(&self, turn: &Turn, _: u64) -> Result<()>;
    fn new(&self, turn: &Turn) -> Result<()>;
    #[cancellable]
    fn never_waits(&self, turn: &Turn) -> Result<u64>;
    #[cancellable]
    async fn gives_a_reference(this: Near<Self>, cx: &Cx) -> Result<vat::Ref>;
    #[cancellable(quickly)]
    async fn with_words(this: Near<Self>, cx: &Cx) -> Result<u64>;
    #[cfg(test)]
    fn sometimes(&self, turn: &Turn) -> Result<()>;
}

fn main() {}
