//! Messages with descriptors and with data of their own, however the transport takes them.

#![expect(clippy::cast_possible_truncation, reason = "numbers are small")]

use super::*;

fn fd() -> Rc<OwnedFd> {
    let (one, _) = std::os::unix::net::UnixStream::pair().unwrap();
    Rc::new(one.into())
}

#[test]
fn a_message_with_descriptors_is_a_run_of_its_own() {
    let mut transmit = Transmit::new();
    transmit.push(&[&[1; 8]], &[]);
    transmit.push(&[&[2; 8]], &[fd()]);
    transmit.push(&[&[3; 8]], &[]);
    let (run, fds) = transmit.head().unwrap();
    assert_eq!((run.len(), fds.len()), (16, 0));
    transmit.advance(16);
    let (run, fds) = transmit.head().unwrap();
    assert_eq!((run.len(), fds.len()), (16, 1));
    transmit.advance(3);
    let (run, fds) = transmit.head().unwrap();
    assert_eq!(
        (run.len(), fds.len()),
        (13, 0),
        "a short write is continued without them"
    );
    transmit.advance(13);
    assert_eq!(transmit.head().unwrap().0.len(), 16);
    transmit.advance(16);
    assert!(transmit.is_empty());
    assert!(transmit.head().is_none());
}

#[test]
fn a_transport_that_is_never_quite_done_does_not_make_the_buffer_grow() {
    let mut transmit = Transmit::new();
    let content = [7; 8 << 10];
    transmit.push(&[&content], &[]);
    for round in 0..200 {
        let mut more = Transmit::new();
        more.push(
            &[&content],
            if round % 9 == 0 {
                vec![fd()]
            } else {
                Vec::new()
            }
            .as_slice(),
        );
        assert!(transmit.append(&mut more));
        let mut due = 8 + (8 << 10);
        while due > 0 {
            let (run, _) = transmit.head().unwrap();
            let count = run.len().min(due).min(5_000);
            transmit.advance(count);
            due -= count;
        }
        assert_eq!(transmit.len(), 8 + (8 << 10));
    }
    assert!(
        transmit.bytes.len() < 3 * KEEP_BYTES,
        "{}",
        transmit.bytes.len()
    );
    assert_eq!(transmit.head().unwrap().0.first(), Some(&0));
}

#[test]
fn the_header_gives_the_sizes_of_all_segments() {
    let mut transmit = Transmit::new();
    transmit.push(&[&[0; 16], &[0; 8]], &[]);
    let bytes = transmit.take_bytes();
    assert_eq!(
        bytes[..16],
        [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(bytes.len(), 16 + 24);
}

/// What has been put in, what has come out, and how many descriptors came at which byte.
#[derive(Default)]
struct Model {
    put: Vec<u8>,
    out: Vec<u8>,
    fds_put: Vec<usize>,
    fds_out: Vec<usize>,
}

impl Model {
    /// A message of two words, or with data of its own in the middle or at the end.
    fn put(&mut self, to: &mut Transmit, random: &mut impl FnMut(usize) -> usize) {
        let start = to.bytes.len();
        let mut piece = |model: &mut Self, len: usize, apart: bool| {
            let bytes: Vec<u8> = (0..len).map(|_| random(251) as u8).collect();
            model.put.extend_from_slice(&bytes);
            match apart {
                true => to.insert(Bytes::from(bytes), len + 100),
                false => to.bytes.extend_from_slice(&bytes),
            }
        };
        let at = self.put.len();
        piece(self, 16, false);
        match at % 3 {
            0 => piece(self, 50, true),
            1 => {
                piece(self, 40, true);
                piece(self, 30, true);
                piece(self, 7, false);
            }
            _ => {}
        }
        if at.is_multiple_of(5) {
            to.mark(start, &[fd()]);
            self.fds_put.push(at);
        }
    }

    fn take(&mut self, from: &mut Transmit, most: usize, whole: bool) {
        let mut slices = [IoSlice::new(&[]); 3];
        let (count, fds) = from.slices(&mut slices);
        let mut run: Vec<u8> = Vec::new();
        slices[..count]
            .iter()
            .for_each(|slice| run.extend_from_slice(slice));
        match from.head() {
            Some((head, same)) => {
                assert!(run.starts_with(head) && fds.len() == same.len());
                if whole {
                    run = head.to_vec();
                }
            }
            None => assert_eq!((count, from.len()), (0, 0)),
        }
        let sent = run.len().min(most);
        if sent > 0 && !fds.is_empty() {
            self.fds_out.push(self.out.len());
        }
        self.out.extend_from_slice(&run[..sent]);
        from.advance(sent);
        assert_eq!(from.len(), self.put.len() - self.out.len());
    }
}

#[test]
fn what_lies_elsewhere_is_sent_in_its_place_however_it_is_taken() {
    for seed in 1..60u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut transmit = Transmit::new();
        let mut model = Model::default();
        for _ in 0..300 {
            match random(6) {
                0 | 1 => model.put(&mut transmit, &mut random),
                2 => {
                    // By way of another queue, message by message.
                    let mut waits = Transmit::new();
                    let mut sizes = Vec::new();
                    for _ in 0..=random(2) {
                        let before = waits.len();
                        model.put(&mut waits, &mut random);
                        sizes.push(waits.len() - before);
                    }
                    for size in sizes {
                        waits.move_message(size, &mut transmit);
                    }
                    assert!(waits.is_empty());
                }
                3 => {
                    let mut more = Transmit::new();
                    model.put(&mut more, &mut random);
                    assert!(transmit.append(&mut more));
                    assert!(more.is_empty());
                }
                4 if random(10) == 0 => transmit.compact(),
                _ => {
                    let whole = random(2) == 0;
                    model.take(&mut transmit, 1 + random(90), whole);
                }
            }
        }
        model.out.extend_from_slice(&transmit.take_bytes());
        assert!(model.out == model.put, "{seed}");
        let until = model.fds_out.len();
        assert_eq!(model.fds_out, model.fds_put[..until], "{seed}");
        assert!(transmit.is_empty() && transmit.inserts.is_empty());
        assert_eq!((transmit.inserted, transmit.holds), (0, 0));
    }
}

#[test]
fn what_is_held_back_is_not_shown_and_can_be_forgotten() {
    let whole = |transmit: &Transmit, bytes: usize| -> usize {
        let mut slices = [IoSlice::new(&[]); 8];
        let (count, _) = transmit.slices_within(bytes, &mut slices);
        slices[..count].iter().map(|slice| slice.len()).sum()
    };
    let data = Bytes::from(vec![9; 40]);
    let mut transmit = Transmit::new();
    transmit.push(&[&[1; 8]], &[]);
    transmit.insert(data.clone(), 40);
    transmit.push(&[&[2; 8]], &[]);
    transmit.insert(data, 40);
    transmit.push(&[&[3; 8]], &[fd()]);
    assert_eq!(transmit.len(), 3 * 16 + 80);
    for bytes in [0, 1, 16, 30, 56, 72, 112] {
        assert_eq!(whole(&transmit, bytes), bytes);
    }
    transmit.advance(4);
    // The first two messages stay, each with its data.
    transmit.truncate(2 * 56 - 4);
    assert_eq!(transmit.len(), 2 * 56 - 4);
    assert_eq!(transmit.descriptors(), 0);
    transmit.truncate(56 - 4);
    assert_eq!((transmit.len(), transmit.weight()), (52, 52));
    transmit.push(&[&[4; 8]], &[]);
    assert_eq!(transmit.take_bytes().len(), 52 + 16);
}
