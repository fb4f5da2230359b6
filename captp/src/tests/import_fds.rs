//! File descriptors that stay with references of the peer.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::net::{Event, Net};
use crate::{ConnOptions, Limits, NodeId};

/// Two vats that pass descriptors, vat 1 with these limits; it offers object 0.
fn pair(limits: Limits) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_descriptors(true);
    net.link(
        (0, options.clone()),
        (1, options.with_limits(limits).with_bootstrap(root)),
    );
    net.vats[1].release(root);
    let boot = net.root(0, 0);
    (net, boot)
}

fn socket() -> (UnixStream, Rc<OwnedFd>) {
    let (own, passed) = UnixStream::pair().unwrap();
    (own, Rc::new(passed.into()))
}

/// What a descriptor of this process leads to.
fn file(descriptor: &impl AsRawFd) -> PathBuf {
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    std::fs::read_link(link).unwrap()
}

/// How many descriptors of this process lead there.
fn open(file: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link == file).count()
}

/// Vat 0 calls with its objects of these numbers, to each of which the descriptor is attached. What
/// vat 1 gets; the call is answered.
fn give(net: &mut Net, boot: NodeId, objects: &[u64], fd: &Rc<OwnedFd>) -> Vec<NodeId> {
    let mut given = Vec::new();
    for key in objects {
        let object = net.vats[0].object(*key);
        net.vats[0].engine.attach_fd(object, Rc::clone(fd));
        given.push(object);
    }
    net.vats[0].send(boot, 1, &given);
    given.into_iter().for_each(|node| net.vats[0].release(node));
    net.run();
    let Some(Event::Call { caps, respond, .. }) = net.vats[1].next() else {
        panic!("no call");
    };
    net.vats[1].answer(respond, 0, &[]);
    net.run();
    net.check();
    caps
}

/// Which of these references have a descriptor.
fn with_fds(net: &Net, nodes: &[NodeId]) -> Vec<bool> {
    let engine = &net.vats[1].engine;
    nodes
        .iter()
        .map(|node| engine.fd(*node).is_some())
        .collect()
}

#[test]
fn a_peer_that_attaches_a_descriptor_to_each_of_thousands_of_references_keeps_256_of_them_open() {
    let (mut net, boot) = pair(Limits::default());
    let (_own, passed) = socket();
    let file = file(&*passed);
    let mut kept = Vec::new();
    for message in 0..200 {
        let objects: Vec<u64> = (1..=16).map(|n| 16 * message + n).collect();
        kept.extend(give(&mut net, boot, &objects, &passed));
        let expected = kept.len().min(256);
        assert_eq!(open(&file), 1 + expected, "after {} references", kept.len());
    }
    assert_eq!(kept.len(), 3_200);
    let has: Vec<bool> = (0..kept.len()).map(|n| n < 256).collect();
    assert_eq!(with_fds(&net, &kept), has, "the first ones keep theirs");
    // The references themselves work all the same.
    net.vats[1].send(kept[3_000], 5, &[]);
    net.run();
    let mut calls = net.vats[0].events.iter();
    assert!(calls.any(|event| matches!(event, Event::Call { object: 3_001, .. })));
}

#[test]
fn there_is_room_for_as_many_descriptors_as_references_with_one_were_dropped() {
    let (mut net, boot) = pair(Limits::default().with_import_fds(2));
    let (_own, passed) = socket();
    let file = file(&*passed);
    let mut kept = give(&mut net, boot, &[1, 2, 3], &passed);
    assert_eq!(with_fds(&net, &kept), [true, true, false]);
    // One that came without gives nothing back.
    net.vats[1].release(kept.remove(2));
    net.run();
    kept.extend(give(&mut net, boot, &[4], &passed));
    assert_eq!(with_fds(&net, &kept), [true, true, false]);
    net.vats[1].release(kept.remove(0));
    net.run();
    assert_eq!(open(&file), 2);
    kept.extend(give(&mut net, boot, &[5, 6], &passed));
    assert_eq!(with_fds(&net, &kept), [true, false, true, false]);
    assert_eq!(open(&file), 3);
    // The same reference again, with another descriptor: that one is closed and does not count.
    let again = give(&mut net, boot, &[5], &passed);
    net.vats[1].release(again[0]);
    net.vats[1].release(kept.remove(0));
    net.run();
    kept.extend(give(&mut net, boot, &[7], &passed));
    assert_eq!(with_fds(&net, &kept), [false, true, false, true]);
}

#[test]
fn descriptors_in_answers_count_like_those_in_calls() {
    let (mut net, boot) = pair(Limits::default().with_import_fds(1));
    let back = net.vats[0].object(1);
    net.vats[0].send(boot, 1, &[back]);
    net.run();
    let Some(Event::Call { caps, .. }) = net.vats[1].next() else {
        panic!("no call");
    };
    let (_own, passed) = socket();
    let file = file(&*passed);
    let mut kept = Vec::new();
    for key in [5, 6] {
        net.vats[1].send(caps[0], 2, &[]);
        net.run();
        let Some(Event::Call { respond, .. }) = net.vats[0].next() else {
            panic!("no call");
        };
        let object = net.vats[0].object(key);
        net.vats[0].engine.attach_fd(object, Rc::clone(&passed));
        net.vats[0].answer(respond, 0, &[object]);
        net.run();
        let Some(Event::Returned { result, .. }) = net.vats[1].next() else {
            panic!("no answer");
        };
        kept.extend(result.unwrap().1);
    }
    assert_eq!(with_fds(&net, &kept), [true, false]);
    assert_eq!(open(&file), 2);
}

#[test]
fn each_connection_has_its_own_room_for_descriptors() {
    let (mut net, boot) = pair(Limits::default().with_import_fds(1));
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_descriptors(true);
    let limited = options
        .clone()
        .with_limits(Limits::default().with_import_fds(1));
    let link = net.link((0, options), (1, limited.with_bootstrap(root)));
    let other = net.root(link, 0);
    let (_own, passed) = socket();
    let mut kept = give(&mut net, boot, &[1, 2], &passed);
    kept.extend(give(&mut net, other, &[3, 4], &passed));
    assert_eq!(with_fds(&net, &kept), [true, false, true, false]);
    // What a vat attaches itself does not count.
    let own = net.vats[1].object(9);
    net.vats[1].engine.attach_fd(own, passed);
    assert_eq!(with_fds(&net, &[own]), [true]);
}
