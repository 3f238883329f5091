//! Directories with many small files.

use std::fs;
use std::path::Path;

use super::Random;

/// Files in a directory.
const FILES: usize = 100;

/// Makes a tree of so many files of up to 8 KiB, a hundred in each directory.
pub fn make(root: &Path, files: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut content = vec![0; 8192];
    for number in 0..files {
        let name = name(root, number);
        if number.is_multiple_of(FILES) {
            fs::create_dir_all(name.parent().unwrap()).unwrap();
        }
        write(&name, &mut content, &mut random);
    }
}

/// Writes one file in a hundred anew, with another size.
pub fn change(root: &Path, files: usize, seed: u64) {
    change_one_in(100, root, files, seed);
}

/// The same for one file in `every`.
pub fn change_one_in(every: usize, root: &Path, files: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut content = vec![0; 8192];
    let first = usize::try_from(random.below(every as u64)).unwrap();
    for number in (first.min(files.saturating_sub(1))..files).step_by(every) {
        write(&name(root, number), &mut content, &mut random);
    }
}

fn name(root: &Path, number: usize) -> std::path::PathBuf {
    root.join(format!("d{:05}/file{:03}.dat", number / FILES, number % FILES))
}

fn write(name: &Path, content: &mut [u8], random: &mut Random) {
    let size = usize::try_from(random.below(content.len() as u64)).unwrap();
    for piece in content[..size].chunks_mut(8) {
        piece.copy_from_slice(&random.next().to_le_bytes()[..piece.len()]);
    }
    fs::write(name, &content[..size]).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_files_and_a_change_changes_one_in_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        make(&a, 250, 7);
        make(&b, 250, 7);
        let read =
            |root: &Path| (0..250).map(|number| fs::read(name(root, number)).unwrap()).collect::<Vec<_>>();
        assert_eq!(read(&a), read(&b));
        let changed = || read(&a).iter().zip(&read(&b)).filter(|(a, b)| a != b).count();
        change(&b, 250, 8);
        assert!((2..=3).contains(&changed()), "{}", changed());
        change_one_in(10, &b, 250, 9);
        assert!((24..=28).contains(&changed()), "{}", changed());
    }
}
