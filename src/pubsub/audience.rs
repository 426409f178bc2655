//! The clients that hear of something, grouped by event loop, so that a message costs one step for each loop and not one for each client
//! on its way there.

use std::sync::{Arc, OnceLock};

use crate::client::ClientInfo;

/// The part of an audience that belongs to one event loop, by id.
#[derive(Debug)]
pub struct Group {
    pub loop_index: usize,
    pub receivers: Arc<[Arc<ClientInfo>]>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Audience {
    /// By event loop and id. Small as long as there is one member, because most names have one.
    members: Vec<Arc<ClientInfo>>,
    /// Made by the first message after a change.
    groups: OnceLock<Box<[Group]>>,
}

fn rank(client: &ClientInfo) -> (usize, u64) {
    (client.loop_index, client.id)
}

impl Audience {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a client, which may be in it already.
    pub fn insert(&mut self, client: &Arc<ClientInfo>) {
        if let Err(place) = self.members.binary_search_by_key(&rank(client), |member| rank(member)) {
            self.members.reserve_exact(usize::from(self.members.is_empty()));
            self.members.insert(place, Arc::clone(client));
            self.groups.take();
        }
    }

    pub fn remove(&mut self, client: &ClientInfo) {
        if let Ok(place) = self.members.binary_search_by_key(&rank(client), |member| rank(member)) {
            self.members.remove(place);
            self.groups.take();
        }
    }

    /// Everybody, by event loop.
    pub fn groups(&self) -> &[Group] {
        self.groups.get_or_init(|| {
            let of_a_loop = self.members.chunk_by(|one, next| one.loop_index == next.loop_index);
            of_a_loop
                .map(|members| Group { loop_index: members[0].loop_index, receivers: members.into() })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientFlags;

    fn client(id: u64, loop_index: usize) -> Arc<ClientInfo> {
        Arc::new(ClientInfo::new(
            id,
            String::new(),
            String::new(),
            0,
            loop_index,
            0,
            0,
            ClientFlags::default(),
        ))
    }

    fn shown(audience: &Audience) -> Vec<(usize, Vec<u64>)> {
        let ids = |group: &Group| group.receivers.iter().map(|client| client.id).collect();
        audience.groups().iter().map(|group| (group.loop_index, ids(group))).collect()
    }

    #[test]
    fn groups_follow_each_change() {
        let mut audience = Audience::default();
        let clients = [client(4, 1), client(2, 1), client(3, 0)];
        assert_eq!(shown(&audience), []);
        for one in clients.iter().chain(&clients) {
            audience.insert(one);
        }
        assert_eq!(shown(&audience), [(0, vec![3]), (1, vec![2, 4])]);
        audience.remove(&clients[1]);
        audience.remove(&clients[1]);
        assert_eq!(shown(&audience), [(0, vec![3]), (1, vec![4])]);
        audience.remove(&clients[0]);
        audience.remove(&clients[2]);
        assert!(audience.is_empty() && shown(&audience).is_empty());
    }
}
