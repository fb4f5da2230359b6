//! A program for tests that never becomes ready.

use vat::prelude::*;
use vat_tests::TallyRef;

#[vat::main]
async fn main(_cx: &Cx) -> Result<TallyRef> {
    std::future::pending().await
}
