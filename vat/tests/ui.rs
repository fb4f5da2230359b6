//! What the macros say when they are used wrongly: every message names the place and the remedy.

#[test]
fn mistakes_are_told_at_their_place_with_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
