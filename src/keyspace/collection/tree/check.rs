//! Whether a tree is what it should be: for tests and fuzz targets.

#[cfg(test)]
use super::super::leaf::Leaf;
use super::super::order::Order;
use super::{Child, Tree, earliest};

/// What a check has come by.
#[derive(Debug, Default)]
struct Found {
    records: usize,
    leaves: usize,
    inners: usize,
    bytes: usize,
}

impl Tree {
    /// What is wrong with it, if anything is; for tests and fuzz targets.
    pub fn check<O: Order>(&self, order: &O) -> Result<(), String> {
        let mut found = Found::default();
        self.check_node(order, self.root, self.height, &mut found)?;
        if found.records != self.len || found.leaves != self.leaves.len() || found.inners != self.inners.len()
        {
            return Err(format!("there are {found:?}, {} are counted", self.len));
        }
        if found.bytes != self.bytes {
            return Err(format!("it owns {} bytes, {} are counted", found.bytes, self.bytes));
        }
        Ok(())
    }

    fn check_node<O: Order>(
        &self,
        order: &O,
        node: u32,
        level: usize,
        found: &mut Found,
    ) -> Result<(), String> {
        if level == 0 {
            let leaf = self.leaves.at(node);
            found.leaves += 1;
            found.records += leaf.count();
            found.bytes += leaf.owned_bytes();
            if leaf.count() == 0 && self.height > 0
                || leaf.bytes() > self.limits.leaf_bytes && leaf.count() > 1
            {
                return Err(format!("a leaf has {} records in {} bytes", leaf.count(), leaf.bytes()));
            }
            return leaf.check(order);
        }
        let children = self.inners.at(node);
        found.inners += 1;
        found.bytes += children.capacity() * size_of::<Child>();
        if children.is_empty()
            || children.len() > self.limits.branches
            || level == self.height && children.len() < 2
        {
            return Err(format!("an inner node has {} branches", children.len()));
        }
        for (index, child) in children.iter().enumerate() {
            let before = found.records;
            self.check_node(order, child.node, level - 1, found)?;
            if found.records - before != child.count as usize {
                return Err(format!(
                    "a branch has {} records, {} are counted",
                    found.records - before,
                    child.count
                ));
            }
            let first = self.leaves.at(self.first_leaf(child.node, level - 1));
            if index > 0 && order.key_of(first.record(order, 0)) < child.key {
                return Err(String::from("a branch has a record with a lesser key than its own"));
            }
            let due_ms = match level {
                1 => self.leaves.at(child.node).due_ms,
                _ => earliest(self.inners.at(child.node)),
            };
            if child.due_ms > due_ms || level > 1 && child.due_ms < due_ms {
                return Err(format!("a branch is due at {}, and what is in it at {due_ms}", child.due_ms));
            }
        }
        Ok(())
    }

    /// Leaves of another epoch.
    #[cfg(test)]
    pub fn unseen_leaves(&self, epoch: u32) -> Vec<&Leaf> {
        let mut place = self.place_at(0);
        let mut unseen = Vec::new();
        loop {
            unseen.extend(Some(self.leaves.at(place.leaf)).filter(|leaf| leaf.stamp != epoch));
            if !self.to_next_leaf(&mut place) {
                return unseen;
            }
        }
    }
}
