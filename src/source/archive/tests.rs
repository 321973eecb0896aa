//! Tests of what is taken out of archives, and of what is not.

use std::io::{Cursor, Write as _};

use insta::assert_snapshot;
use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const TEXT: &[u8] = b"SessionId,Sessionstart,Sessionend\r\na,,\r\n";

/// An archive of these files, packed by a method.
fn archive(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        if name.ends_with('/') {
            writer.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            writer.write_all(contents).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

fn deflated(contents: &[u8]) -> Vec<u8> {
    archive(&[("export.csv", contents)], CompressionMethod::Deflated)
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    unpacked_within(bytes, &Limits::default())
}

fn unpacked_within(bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, ArchiveError> {
    let mut contents = Vec::new();
    open(Cursor::new(bytes), limits)?.read_to_end(&mut contents).unwrap();
    Ok(contents)
}

fn refused(bytes: &[u8]) -> String {
    unpacked(bytes).unwrap_err().to_string()
}

/// Where the bytes of a signature stand for the last time.
fn last(bytes: &[u8], signature: &[u8]) -> usize {
    bytes.windows(signature.len()).rposition(|window| window == signature).unwrap()
}

const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";

#[test]
fn the_one_file_comes_out_whatever_it_is_called() {
    for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
        for name in ["export.csv", "", "../../etc/passwd", "x.exe", "C:\\x", "ü"] {
            assert_eq!(unpacked(&archive(&[(name, TEXT)], method)).unwrap(), TEXT, "{name}");
        }
        let around = archive(&[("a/", b""), ("a/b/", b""), ("a/b/export.csv", TEXT)], method);
        assert_eq!(unpacked(&around).unwrap(), TEXT);
        assert_eq!(unpacked(&archive(&[("empty.csv", b"")], method)).unwrap(), b"");
    }
    let large: Vec<u8> =
        (0..3_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    assert_eq!(unpacked(&deflated(&large)).unwrap(), large);
}

#[test]
fn bytes_around_an_archive_do_no_harm() {
    let mut bytes = b"something before".to_vec();
    bytes.extend(deflated(TEXT));
    assert_eq!(unpacked(&bytes).unwrap(), TEXT);
}

#[test]
fn what_is_no_archive_of_one_file_is_refused() {
    assert_snapshot!(refused(b""), @"it is not a ZIP archive, or is cut off; fetch or copy it again");
    assert_eq!(refused(TEXT), refused(b""));
    assert_snapshot!(refused(&archive(&[], CompressionMethod::Stored)), @"the archive holds no file; it should hold the one CSV of an export");
    assert_eq!(
        refused(&archive(&[("a/", b"")], CompressionMethod::Stored)),
        refused(&archive(&[], CompressionMethod::Stored))
    );
    let two = archive(&[("a.csv", TEXT), ("b.csv", TEXT)], CompressionMethod::Deflated);
    assert_snapshot!(refused(&two), @"the archive holds 2 entries; put one CSV alone into it");
    // Two of one name, of which most readers see the last only.
    let mut renamed = two.clone();
    while let Some(at) = renamed.windows(5).position(|window| window == b"b.csv") {
        renamed[at] = b'a';
    }
    assert_eq!(refused(&renamed), refused(&two));
    let names: Vec<_> = (0..100).map(|number| format!("{number}/")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert_snapshot!(refused(&archive(&many, CompressionMethod::Stored)), @"the archive holds 100 entries; put one CSV alone into it");
}

#[test]
fn what_cannot_be_unpacked_is_refused() {
    // Bit 0 of the flags says that the file is encrypted; the method stands behind the flags.
    let mut encrypted = deflated(TEXT);
    let entry = last(&encrypted, DIRECTORY_ENTRY);
    encrypted[entry + 8] |= 1;
    assert_snapshot!(refused(&encrypted), @"the file in the archive is encrypted; pack it without a password");
    let mut foreign = deflated(TEXT);
    foreign[entry + 10] = 93;
    assert_snapshot!(refused(&foreign), @"the file in the archive is compressed by the method Zstd; pack it with deflate, as every ZIP tool can");
    foreign[entry + 10] = 99;
    assert!(unpacked(&foreign).is_err());
}

#[test]
fn a_damaged_or_cut_archive_is_refused_before_anything_of_it_is_used() {
    let whole = deflated(&TEXT.repeat(50));
    for cut in 0..whole.len() {
        assert!(unpacked(&whole[..cut]).is_err(), "{cut} bytes");
    }
    assert_snapshot!(refused(&whole[..whole.len() / 2]), @"it is not a ZIP archive, or is cut off; fetch or copy it again");
    let mut stored = archive(&[("export.csv", TEXT)], CompressionMethod::Stored);
    let at = stored.windows(9).position(|window| window == b"SessionId").unwrap();
    stored[at] = b'X';
    assert_snapshot!(refused(&stored), @"the archive is damaged: its contents do not match its checksum; fetch or copy it again");
    // The end of the contents is missing, while the directory at the end of the archive is there.
    let mut short = deflated(TEXT);
    let start = 30 + "export.csv".len();
    short.drain(start + 5..start + 15);
    assert!(unpacked(&short).is_err());
}

#[test]
fn declared_sizes_are_not_believed() {
    let mut bytes = deflated(TEXT);
    let entry = last(&bytes, DIRECTORY_ENTRY);
    for size in [0_u32, 1, u32::MAX - 1] {
        bytes[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        assert_eq!(unpacked(&bytes).unwrap(), TEXT, "{size}");
    }
}

#[test]
fn what_inflates_beyond_the_limits_is_refused() {
    let zeros = vec![b'0'; 4 << 20];
    let bomb = deflated(&zeros);
    assert_snapshot!(refused(&bomb), @"the file in the archive inflates to more than 200 times its size: that is no export but a bomb");
    let limits = |inflated, ratio| Limits { inflated, ratio };
    assert_eq!(unpacked_within(&bomb, &limits(4 << 20, 1100)).unwrap().len(), 4 << 20);
    let large = unpacked_within(&bomb, &limits((4 << 20) - 1, 1100)).unwrap_err();
    assert_snapshot!(large, @"the file in the archive inflates to more than 3 MiB, far beyond any export of sessions; see what it holds");
    assert!(matches!(unpacked_within(&bomb, &limits(4 << 20, 900)), Err(ArchiveError::Bomb(900))));
    // Equal rows shrink a lot and are no bomb as long as there are few of them.
    assert!(unpacked(&deflated(&vec![b'0'; 1 << 20])).is_ok());
    let stored = archive(&[("export.csv", &zeros)], CompressionMethod::Stored);
    assert_eq!(unpacked(&stored).unwrap().len(), zeros.len());
}

#[test]
fn an_archive_that_cannot_be_read_says_why() {
    struct Broken(Cursor<Vec<u8>>);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let error = open(Broken(Cursor::new(deflated(TEXT))), &Limits::default()).err().unwrap();
    assert_snapshot!(error, @"the archive cannot be read: the disk is on fire");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = unpacked(&bytes);
    }

    #[test]
    fn no_change_of_an_archive_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = deflated(TEXT);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Whatever comes out has the checksum that the archive names, so it is hardly ever something else.
        if let Ok(contents) = unpacked(&bytes) {
            prop_assert!(contents.len() <= TEXT.len());
        }
    }
}
