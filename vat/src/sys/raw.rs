//! Raw system calls for the child between `clone` and `exec`: nothing but the kernel is involved.

use libc::c_long;

/// An error number, as the kernel gave it.
pub(super) type Errno = i32;

/// Makes one system call; unused arguments are zero.
///
/// # Safety
///
/// The call must be sound with these arguments: pointers must be valid for what the kernel does
/// with them, and the call must not take away memory or descriptors that Rust code still owns.
pub(super) unsafe fn call(number: c_long, arguments: &[usize]) -> Result<usize, Errno> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: `syscall` passes six words to the kernel; soundness of the call itself is the
    // caller's promise.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result == -1 {
        // SAFETY: the address of this thread's own error number is always valid.
        return Err(unsafe { *libc::__errno_location() });
    }
    usize::try_from(result).map_err(|_| libc::EOVERFLOW)
}
