//! Reading many files in order, a few spans of them ahead: as fast as the store gives them, in memory that does not grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_model::Fault;
use tokio::task::JoinSet;

use crate::fault::lost_task;
use crate::store::Store;

/// Spans that are read side by side: an object store answers slowly, and a disk has two hands.
const LANES: usize = 8;
/// Files of one span: enough to make a call worth it, few enough that what waits stays small.
pub(crate) const SPAN: usize = 64;

/// What stands under a name, for making something of it.
type Found = Option<Arc<[u8]>>;

/// Files on their way: each is named by a `K` and becomes a `T`.
pub(crate) struct Ahead<K, T> {
    store: Arc<dyn Store>,
    path: fn(&K) -> String,
    make: Arc<dyn Fn(K, Found) -> Result<T, Fault> + Send + Sync>,
    spans: Box<dyn Iterator<Item = Vec<K>> + Send>,
    reading: JoinSet<(u64, Result<Vec<T>, Fault>)>,
    arrived: BTreeMap<u64, Result<Vec<T>, Fault>>,
    begun: u64,
    taken: u64,
}

impl<K: Send + 'static, T: Send + 'static> Ahead<K, T> {
    /// Nothing is read before the first `next`.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        spans: impl Iterator<Item = Vec<K>> + Send + 'static,
        path: fn(&K) -> String,
        make: impl Fn(K, Found) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            path,
            make: Arc::new(make),
            spans: Box::new(spans),
            reading: JoinSet::new(),
            arrived: BTreeMap::new(),
            begun: 0,
            taken: 0,
        }
    }

    /// What the next span has become; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Fault> {
        loop {
            // Invariant: what is read and what waits to be taken are at most LANES spans.
            while self.begun - self.taken < LANES as u64 {
                let Some(span) = self.spans.next() else { break };
                let (store, path, make) = (Arc::clone(&self.store), self.path, Arc::clone(&self.make));
                let number = self.begun;
                self.reading.spawn(async move { (number, read_span(&*store, span, path, &*make).await) });
                self.begun += 1;
            }
            if let Some(span) = self.arrived.remove(&self.taken) {
                self.taken += 1;
                return span.map(Some);
            }
            match self.reading.join_next().await {
                Some(read) => {
                    let (number, span) = read.map_err(lost_task)?;
                    self.arrived.insert(number, span);
                }
                None => return Ok(None),
            }
        }
    }
}

async fn read_span<K, T>(
    store: &dyn Store,
    span: Vec<K>,
    path: fn(&K) -> String,
    make: &(dyn Fn(K, Found) -> Result<T, Fault> + Send + Sync),
) -> Result<Vec<T>, Fault> {
    let paths = span.iter().map(path).collect();
    let found = store.read_many(paths).await?;
    span.into_iter().zip(found).map(|(key, found)| make(key, found)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn files_come_in_order_and_only_a_bounded_part_of_them_is_read_ahead() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let made = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&made);
        let spans = (0..100u64).map(|span| (span * 10..span * 10 + 10).collect());
        let mut ahead = Ahead::new(&store, spans, u64::to_string, move |key, _| {
            *counter.lock().unwrap() += 1;
            Ok(key)
        });
        let mut seen = Vec::new();
        while let Some(span) = ahead.next().await.unwrap() {
            seen.extend(span);
            // Whoever is slow finds no more than the lanes hold.
            tokio::task::yield_now().await;
            assert!(*made.lock().unwrap() <= seen.len() + LANES * 10);
        }
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }
}
