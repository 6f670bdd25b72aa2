//! One suite of behaviours for a door to the kernel and for its twin in memory.

/// Makes two tests of each behaviour of a module: on a new twin of this type, and in the kernel by the suite's `in_kernel`.
macro_rules! on_both {
    ($twin:ident, $($module:ident: $($behaviour:ident),*;)*) => {
        mod in_memory {
            $($(#[test] fn $behaviour() {
                super::$module::$behaviour(&mut super::$twin::new());
            })*)*
        }
        mod in_the_kernel {
            $($(#[test] fn $behaviour() {
                super::in_kernel(|kernel| super::$module::$behaviour(kernel));
            })*)*
        }
    };
}

pub(crate) use on_both;
