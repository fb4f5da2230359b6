mod not_async {
    #[vat::main]
    fn main(cx: &vat::Cx) -> vat::Result<()> {
        Ok(())
    }
}

mod no_cx {
    #[vat::main]
    async fn main() -> vat::Result<()> {
        Ok(())
    }
}

mod no_result {
    #[vat::main]
    async fn main(cx: &vat::Cx) {}
}

fn main() {}
