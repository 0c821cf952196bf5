//! What the C library's allocator keeps: how many heaps, and how much that nobody uses.

/// Threads share this many heaps. Why not one a thread, up to eight a core, as the library would have it: batches are made by
/// one thread and freed by another, and each heap keeps the gaps that are left. 2,000 tables beside a large one took 215 MiB
/// where two heaps take 122, and values are not allocated one by one, so that threads do not queue for them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: libc::c_int = 2;

/// From so many bytes on a buffer lies outside the heaps, and is the system's again when it is freed. Why: left alone, the
/// library raises its bound (up to 32 MiB) with each large buffer that is freed, so that the next ones lie in the heaps, which keep
/// the room of all of them. A transaction of 400,000 rows of 400 columns took 227 MiB where this takes 82.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 4 << 20;

/// A heap keeps so much at its end that nobody uses, for the next batch.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SPARE: libc::c_int = 8 << 20;

/// Bounds the heaps. Before any thread is started: a heap that is there stays.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's call; it takes two numbers and touches no memory of ours")]
pub(crate) fn bound() {
    let bounds = [(libc::M_ARENA_MAX, HEAPS), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, SPARE)];
    for (bound, value) in bounds {
        // SAFETY: `mallopt` takes numbers only, and no other thread runs yet. A refusal (0) leaves things as they were.
        let _taken = unsafe { libc::mallopt(bound, value) };
    }
}

/// Other C libraries have one heap.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn bound() {}
