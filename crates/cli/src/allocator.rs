//! How many heaps the C library's allocator keeps.

/// Threads share this many. Why not one a thread, up to eight a core, as the library would have it: batches are made by
/// one thread and freed by another, and each heap keeps the gaps that are left. 2,000 tables beside a large one took 215 MiB
/// where two heaps take 122, and values are not allocated one by one, so that threads do not queue for them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: libc::c_int = 2;

/// Bounds the heaps. Before any thread is started: a heap that is there stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's call; it takes two numbers and touches no memory of ours")]
pub(crate) fn bound() {
    // SAFETY: `mallopt` takes numbers only, and no other thread runs yet. A refusal (0) leaves things as they were.
    let _taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
}

/// Other C libraries have one heap.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn bound() {}
