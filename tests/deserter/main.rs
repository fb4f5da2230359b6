//! A program for tests that cuts its connection to the launcher and runs on.
#![allow(
    unsafe_code,
    reason = "nothing safe closes a descriptor that nobody owns"
)]

fn main() {
    // SAFETY: nothing in this program uses descriptor 3.
    unsafe { libc::close(3) };
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}
