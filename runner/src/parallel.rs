//! The same work on several things, some of them at a time.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Enough for a thread that waits for a child and reads its output.
const STACK_BYTES: usize = 256 * 1024;

/// Does the work on each item, on `at_a_time` threads at most; the results are in the order of the items.
///
/// This thread works as well, so that there is one even where no other can be started. An item whose work
/// panics has no result.
pub fn map<T: Send, R: Send>(items: Vec<T>, at_a_time: NonZeroUsize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let others = at_a_time.get().min(items.len()).saturating_sub(1);
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let done = Mutex::new(Vec::new());
    let turn = || {
        while let Some((index, item)) = next() {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..others)
            .map_while(|_| thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, turn).ok())
            .collect();
        turn();
        for thread in threads {
            // A panic is printed where it happens, and must not take the other items along.
            let _ = thread.join();
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn number(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("is not zero")
    }

    #[test]
    fn results_are_in_the_order_of_the_items_whoever_is_first() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled: Vec<u32> = items.iter().map(|item| item * 2).collect();
        assert_eq!(map(items.clone(), number(7), |item| item * 2), doubled);
        assert_eq!(map(items, number(1), |item| item * 2), doubled);
        assert_eq!(map(Vec::<u32>::new(), number(7), |item| item), Vec::<u32>::new());
    }

    #[test]
    fn as_many_as_asked_for_are_under_way_at_once() {
        // With fewer threads this would wait for ever.
        let barrier = Barrier::new(3);
        assert_eq!(map(vec![(); 6], number(3), |()| barrier.wait().is_leader()).len(), 6);
    }
}
