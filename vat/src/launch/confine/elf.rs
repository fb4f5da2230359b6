//! Just enough of the ELF format to say whether a program can be started confined.
//!
//! The file comes from outside: every read is checked, and anything odd is a refusal.

use super::program::Unsuitable;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Programs have about a dozen; the kernel itself accepts at most 64 KiB of them.
const MAX_PROGRAM_HEADERS: u16 = 256;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("confinement is written for x86_64 and aarch64");

/// Reads `length` bytes at `offset`; shorter at the end of the file.
pub(super) trait Source {
    fn read_at(&self, offset: u64, length: usize) -> std::io::Result<Vec<u8>>;
}

/// Checks that the file is a static, position-independent program for this machine.
pub(super) fn check(file: &impl Source) -> std::io::Result<Result<(), Unsuitable>> {
    let header = file.read_at(0, HEADER)?;
    let entries = match check_header(&header) {
        Ok(entries) => entries,
        Err(reason) => return Ok(Err(reason)),
    };
    let size = usize::from(entries.count) * PROGRAM_HEADER;
    let table = file.read_at(entries.offset, size)?;
    if table.len() != size {
        return Ok(Err(Unsuitable::Damaged(
            "its program headers lie outside of the file",
        )));
    }
    for entry in table.chunks_exact(PROGRAM_HEADER) {
        if let Err(reason) = check_segment(file, entry)? {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(()))
}

struct ProgramHeaders {
    offset: u64,
    count: u16,
}

fn check_header(header: &[u8]) -> Result<ProgramHeaders, Unsuitable> {
    if header.starts_with(b"#!") {
        return Err(Unsuitable::Script);
    }
    if !header.starts_with(b"\x7fELF") {
        return Err(Unsuitable::NotElf);
    }
    let short = Unsuitable::Damaged("it ends inside of its header");
    let (Some(&class), Some(&order)) = (header.get(4), header.get(5)) else {
        return Err(short);
    };
    if class != 2 || order != 1 {
        return Err(Unsuitable::WrongMachine);
    }
    let fields = (u16_at(header, 16), u16_at(header, 18), u64_at(header, 32));
    let sizes = (u16_at(header, 54), u16_at(header, 56));
    let ((Some(kind), Some(machine), Some(offset)), (Some(size), Some(count))) = (fields, sizes)
    else {
        return Err(short);
    };
    if machine != MACHINE {
        return Err(Unsuitable::WrongMachine);
    }
    match kind {
        ET_DYN => {}
        ET_EXEC => return Err(Unsuitable::FixedAddress),
        _ => return Err(Unsuitable::NotProgram),
    }
    if usize::from(size) != PROGRAM_HEADER || count == 0 || count > MAX_PROGRAM_HEADERS {
        return Err(Unsuitable::Damaged(
            "its program headers have an unknown form",
        ));
    }
    Ok(ProgramHeaders { offset, count })
}

fn check_segment(file: &impl Source, entry: &[u8]) -> std::io::Result<Result<(), Unsuitable>> {
    let (Some(kind), Some(flags)) = (u32_at(entry, 0), u32_at(entry, 4)) else {
        return Ok(Err(Unsuitable::Damaged(
            "its program headers have an unknown form",
        )));
    };
    let writable_code = flags & PF_X != 0 && flags & PF_W != 0;
    Ok(match kind {
        PT_INTERP => Err(Unsuitable::Dynamic),
        PT_LOAD if writable_code => Err(Unsuitable::WritableCode),
        PT_GNU_STACK if flags & PF_X != 0 => Err(Unsuitable::ExecutableStack),
        PT_DYNAMIC => check_dynamic(file, entry)?,
        _ => Ok(()),
    })
}

/// A program without an interpreter that still names libraries would crash at once.
fn check_dynamic(file: &impl Source, entry: &[u8]) -> std::io::Result<Result<(), Unsuitable>> {
    const MAX_SECTION: u64 = 64 * 1024;
    let (Some(offset), Some(size)) = (u64_at(entry, 8), u64_at(entry, 32)) else {
        return Ok(Err(Unsuitable::Damaged(
            "its program headers have an unknown form",
        )));
    };
    let size = usize::try_from(size.min(MAX_SECTION)).unwrap_or(0);
    let section = file.read_at(offset, size)?;
    for tag in section.chunks_exact(16) {
        match u64_at(tag, 0) {
            Some(DT_NULL) | None => break,
            Some(DT_NEEDED) => return Ok(Err(Unsuitable::Dynamic)),
            Some(_) => {}
        }
    }
    Ok(Ok(()))
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(offset..offset + 2)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(offset..offset + 4)?.try_into().ok()?,
    ))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(offset..offset + 8)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Bytes(Vec<u8>);

    impl Source for Bytes {
        fn read_at(&self, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
            let bytes = self
                .0
                .iter()
                .skip(usize::try_from(offset).unwrap_or(usize::MAX));
            Ok(bytes.take(length).copied().collect())
        }
    }

    /// A file with these segments: (type, flags, offset of the content).
    fn program(segments: &[(u32, u32, u64)], content: &[u8]) -> Bytes {
        let mut file = vec![0; HEADER];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&ET_DYN.to_le_bytes());
        file[18..20].copy_from_slice(&MACHINE.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56] = u8::try_from(segments.len()).unwrap();
        for (kind, flags, offset) in segments {
            let mut entry = [0; PROGRAM_HEADER];
            entry[..4].copy_from_slice(&kind.to_le_bytes());
            entry[4..8].copy_from_slice(&flags.to_le_bytes());
            entry[8..16].copy_from_slice(&offset.to_le_bytes());
            entry[32..40].copy_from_slice(&1000_u64.to_le_bytes());
            file.extend(entry);
        }
        file.extend(content);
        Bytes(file)
    }

    fn checked(segments: &[(u32, u32, u64)], content: &[u8]) -> Result<(), Unsuitable> {
        check(&program(segments, content)).unwrap()
    }

    #[test]
    fn static_programs_are_accepted() {
        assert_eq!(
            checked(&[(PT_LOAD, PF_X, 0), (PT_LOAD, PF_W, 0)], &[]),
            Ok(())
        );
        assert_eq!(checked(&[(PT_GNU_STACK, PF_W, 0)], &[]), Ok(()));
        // The needed library comes after the end of the section.
        let dynamic = [[0_u8; 16], [1; 16]].concat();
        assert_eq!(checked(&[(PT_DYNAMIC, 0, 64 + 56)], &dynamic), Ok(()));
    }

    #[test]
    fn what_needs_more_than_the_file_itself_is_refused() {
        assert_eq!(checked(&[(PT_INTERP, 0, 0)], &[]), Err(Unsuitable::Dynamic));
        let needed = [DT_NEEDED.to_le_bytes(), [9; 8]].concat();
        let dynamic = [(PT_DYNAMIC, 0, 64 + 56)];
        assert_eq!(checked(&dynamic, &needed), Err(Unsuitable::Dynamic));
        let writable = [(PT_LOAD, PF_X | PF_W, 0)];
        assert_eq!(checked(&writable, &[]), Err(Unsuitable::WritableCode));
        let stack = [(PT_GNU_STACK, PF_X | PF_W, 0)];
        assert_eq!(checked(&stack, &[]), Err(Unsuitable::ExecutableStack));
        assert!(matches!(checked(&[], &[]), Err(Unsuitable::Damaged(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(
            start in 0_usize..70,
            bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let Bytes(mut file) = program(&[(PT_LOAD, 0, 0), (PT_DYNAMIC, 0, 100)], &[1; 300]);
            file.truncate(start.max(4));
            file.extend(bytes);
            prop_assert!(check(&Bytes(file)).is_ok());
        }
    }
}
