//! What a pool's processes write to each other, with any bytes in it: see `phalanx-fuzz`.

use crate::protocol::{ItemReader, Kind, write_item};

phalanx_fuzz::targets! {
    items("pool-items", "the items of a task, from a pool's parent to its workers", cost 1, seeds());
}

fn seeds() -> Vec<Vec<u8>> {
    let of = |items: &[&[u8]]| {
        let mut payload = Vec::new();
        items.iter().for_each(|item| write_item(&mut payload, item));
        payload
    };
    vec![of(&[b"first", b"", b"\x80\x05."]), of(&[&[7; 300]]), of(&[])]
}

/// What is read, written again, is the beginning of what was there.
fn items(bytes: &[u8]) {
    let mut again = Vec::new();
    for item in ItemReader::new(bytes) {
        write_item(&mut again, item);
    }
    assert!(bytes.starts_with(&again));
    for word in bytes.as_chunks().0 {
        let number = u32::from_le_bytes(*word);
        assert!(Kind::of(number).is_none_or(|kind| kind as u32 == number));
    }
}
