//! Values by their keys, in the order in which the keys came first.

/// A few keys, which need neither order nor hash.
#[derive(Debug)]
pub(super) struct Grouped<K, V>(Vec<(K, V)>);

impl<K, V> Default for Grouped<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V: Default> Grouped<K, V> {
    /// What is kept under this key; a new one is put at the end.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        let known = self.0.iter().position(|(known, _)| *known == key);
        let at = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push((key, V::default()));
        }
        &mut self.0[at].1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.0.iter()
    }
}
