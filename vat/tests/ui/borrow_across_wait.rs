use vat::prelude::*;

#[vat::interface]
trait Slow {
    async fn slow(this: Near<Self>, cx: &Cx, other: SlowRef) -> Result<()>;
}

#[derive(Clone, vat::Object)]
struct Keeps(Vec<u64>);

impl Slow for Keeps {
    async fn slow(this: Near<Self>, cx: &Cx, other: SlowRef) -> Result<()> {
        let values = this.with(cx, |me| &mut me.0)?;
        other.slow(other.clone()).await?;
        values.push(1);
        Ok(())
    }
}

fn main() {}
