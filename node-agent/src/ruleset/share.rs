//! Random choice by weight.

/// The match that takes `weight` out of every `rest` packets which reach the rule, with a blank before it; empty where it takes all.
///
/// The kernel's `statistic` match draws 31 bits (`xt_statistic.c`), and iptables prints eleven digits of the quotient.
pub fn random_share(weight: u64, rest: u64) -> String {
    const ONE: f64 = 2_147_483_648.0;
    if weight >= rest {
        return String::new();
    }
    let steps = (ONE * weight as f64 / rest as f64).round().max(1.0);
    format!(
        " -m statistic --mode random --probability {:.11}",
        steps / ONE
    )
}

#[cfg(test)]
mod tests {
    use super::random_share;

    #[test]
    fn the_last_of_equals_takes_the_rest() {
        assert_eq!(
            random_share(1, 2),
            " -m statistic --mode random --probability 0.50000000000"
        );
        assert_eq!(
            random_share(1, 3),
            " -m statistic --mode random --probability 0.33333333349"
        );
        assert_eq!(random_share(7, 7), "");
    }
}
