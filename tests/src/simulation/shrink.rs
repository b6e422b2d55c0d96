//! The shortest list of operations that still fails.

use super::Operation;

/// Takes operations out as long as `fails` says that the rest still fails: halves first, then ever
/// smaller pieces. At most `runs` lists are tried.
pub fn shrunk(
    operations: &[Operation],
    runs: usize,
    mut fails: impl FnMut(&[Operation]) -> bool,
) -> Vec<Operation> {
    let (mut least, mut runs) = (operations.to_vec(), runs);
    let mut piece = least.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        while from < least.len() {
            if runs == 0 {
                return least;
            }
            runs -= 1;
            let to = (from + piece).min(least.len());
            let rest = [&least[..from], &least[to..]].concat();
            if fails(&rest) {
                least = rest;
            } else {
                from = to;
            }
        }
        piece /= 2;
    }
    least
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::*;

    #[test]
    fn what_matters_stays_and_all_else_goes() {
        let all = generate(3, 60);
        let needed = [all[4].clone(), all[31].clone(), all[59].clone()];
        let fails = |list: &[Operation]| needed.iter().all(|one| list.contains(one));
        assert_eq!(shrunk(&all, 1000, fails), needed);
        let mut tried = 0;
        let least = shrunk(&all, 5, |list| {
            tried += 1;
            fails(list)
        });
        assert!(tried == 5 && fails(&least), "{tried}");
    }
}
