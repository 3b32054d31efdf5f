//! How a type was made: combiner and arguments, as `MPI_Type_get_envelope` and `MPI_Type_get_contents` tell them.

use super::{Basic, Datatype, Distribution, Order};
use crate::error::{Result, fail};

macro_rules! combiners {
    ($($variant:ident, $name:literal;)*) => {
        /// The constructor of a type, numbered by its place in [`Combiner::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Combiner {
            $(#[doc = concat!("`MPI_COMBINER_", $name, "`")] $variant,)*
        }

        impl Combiner {
            /// The constructor in capitals, such as `VECTOR`.
            pub const fn name(self) -> &'static str {
                match self { $(Combiner::$variant => $name,)* }
            }

            /// Every combiner, in the order of their numbers.
            pub const ALL: &'static [Combiner] = &[$(Combiner::$variant),*];
        }
    };
}

combiners! {
    Named, "NAMED";
    Dup, "DUP";
    Contiguous, "CONTIGUOUS";
    Vector, "VECTOR";
    Hvector, "HVECTOR";
    Indexed, "INDEXED";
    Hindexed, "HINDEXED";
    IndexedBlock, "INDEXED_BLOCK";
    HindexedBlock, "HINDEXED_BLOCK";
    Struct, "STRUCT";
    Subarray, "SUBARRAY";
    Darray, "DARRAY";
    F90Real, "F90_REAL";
    F90Complex, "F90_COMPLEX";
    F90Integer, "F90_INTEGER";
    Resized, "RESIZED";
}

/// How many arguments of each sort [`Contents`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The constructor.
    pub combiner: Combiner,
    /// Number of `int` arguments.
    pub integers: usize,
    /// Number of address arguments.
    pub addresses: usize,
    /// Number of large-count arguments (only types made by `_c` constructors have any).
    pub large_counts: usize,
    /// Number of datatype arguments.
    pub datatypes: usize,
}

/// An argument of C type `int`: a number, or a name that the layer above has a number for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integer {
    /// A number.
    Number(i32),
    /// Which dimension varies fastest.
    Order(Order),
    /// How a dimension is dealt out.
    Distribution(Distribution),
    /// `MPI_DISTRIBUTE_DFLT_DARG`: no block size was given.
    DefaultArgument,
}

/// The arguments of the constructor, in the standard's order.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The constructor.
    pub combiner: Combiner,
    /// Arguments of C type `int`.
    pub integers: Vec<Integer>,
    /// Arguments of C type `MPI_Aint`.
    pub addresses: Vec<i64>,
    /// Arguments of C type `MPI_Count`.
    pub large_counts: Vec<i64>,
    /// The types, as new references to the ones given.
    pub datatypes: Vec<Datatype>,
}

/// The constructor call, kept as it was given.
#[derive(Clone, Debug)]
pub(super) enum Recipe {
    Named(Basic),
    Dup(Datatype),
    Contiguous {
        count: i64,
        old: Datatype,
    },
    Vector {
        count: i64,
        block: i64,
        stride: i64,
        old: Datatype,
    },
    Hvector {
        count: i64,
        block: i64,
        stride: i64,
        old: Datatype,
    },
    Indexed {
        blocks: Vec<i64>,
        displs: Vec<i64>,
        old: Datatype,
    },
    Hindexed {
        blocks: Vec<i64>,
        displs: Vec<i64>,
        old: Datatype,
    },
    IndexedBlock {
        block: i64,
        displs: Vec<i64>,
        old: Datatype,
    },
    HindexedBlock {
        block: i64,
        displs: Vec<i64>,
        old: Datatype,
    },
    Struct {
        blocks: Vec<i64>,
        displs: Vec<i64>,
        types: Vec<Datatype>,
    },
    Subarray {
        sizes: Vec<i64>,
        subsizes: Vec<i64>,
        starts: Vec<i64>,
        order: Order,
        old: Datatype,
    },
    Darray {
        size: i64,
        rank: i64,
        gsizes: Vec<i64>,
        distribs: Vec<Distribution>,
        dargs: Vec<Option<i64>>,
        psizes: Vec<i64>,
        order: Order,
        old: Datatype,
    },
    F90 {
        combiner: Combiner,
        arguments: Vec<i32>,
    },
    Resized {
        lb: i64,
        extent: i64,
        old: Datatype,
    },
}

impl Recipe {
    pub(super) fn combiner(&self) -> Combiner {
        match self {
            Recipe::Named(_) => Combiner::Named,
            Recipe::Dup(_) => Combiner::Dup,
            Recipe::Contiguous { .. } => Combiner::Contiguous,
            Recipe::Vector { .. } => Combiner::Vector,
            Recipe::Hvector { .. } => Combiner::Hvector,
            Recipe::Indexed { .. } => Combiner::Indexed,
            Recipe::Hindexed { .. } => Combiner::Hindexed,
            Recipe::IndexedBlock { .. } => Combiner::IndexedBlock,
            Recipe::HindexedBlock { .. } => Combiner::HindexedBlock,
            Recipe::Struct { .. } => Combiner::Struct,
            Recipe::Subarray { .. } => Combiner::Subarray,
            Recipe::Darray { .. } => Combiner::Darray,
            Recipe::F90 { combiner, .. } => *combiner,
            Recipe::Resized { .. } => Combiner::Resized,
        }
    }

    /// The arguments: `int` always, counts, addresses, types. Counts become `int` or large counts with the constructor's
    /// flavour; addresses become large counts after the other counts in the large flavour. That is the order of the
    /// standard's tables for every constructor, but for the arrays, where `order` follows the counts.
    fn arguments(&self) -> Arguments {
        let mut a = Arguments::default();
        let length = |list: &[i64]| list.len() as i64;
        match self {
            Recipe::Named(_) => {}
            Recipe::Dup(old) => a.types(&[old]),
            Recipe::Contiguous { count, old } => a.counts(&[*count]).types(&[old]),
            Recipe::Vector { count, block, stride, old } => a.counts(&[*count, *block, *stride]).types(&[old]),
            Recipe::Hvector { count, block, stride, old } => {
                a.counts(&[*count, *block]).addresses(&[*stride]).types(&[old]);
            }
            Recipe::Indexed { blocks, displs, old } => {
                a.counts(&[length(blocks)]).counts(blocks).counts(displs).types(&[old]);
            }
            Recipe::Hindexed { blocks, displs, old } => {
                a.counts(&[length(blocks)]).counts(blocks).addresses(displs).types(&[old]);
            }
            Recipe::IndexedBlock { block, displs, old } => {
                a.counts(&[length(displs), *block]).counts(displs).types(&[old]);
            }
            Recipe::HindexedBlock { block, displs, old } => {
                a.counts(&[length(displs), *block]).addresses(displs).types(&[old]);
            }
            Recipe::Struct { blocks, displs, types } => {
                a.counts(&[length(blocks)]).counts(blocks).addresses(displs);
                a.types.extend(types.iter().cloned());
            }
            Recipe::Subarray { sizes, subsizes, starts, order, old } => {
                a.integers(&[length(sizes)]).counts(sizes).counts(subsizes).counts(starts);
                a.names([Integer::Order(*order)]).types(&[old]);
            }
            Recipe::Darray { size, rank, gsizes, distribs, dargs, psizes, order, old } => {
                a.integers(&[*size, *rank, length(gsizes)]).counts(gsizes);
                a.names(distribs.iter().map(|&distrib| Integer::Distribution(distrib)));
                for darg in dargs {
                    match darg {
                        Some(block) => a.integers(&[*block]),
                        None => a.names([Integer::DefaultArgument]),
                    };
                }
                a.integers(psizes).names([Integer::Order(*order)]).types(&[old]);
            }
            Recipe::F90 { arguments, .. } => {
                arguments.iter().for_each(|&i| {
                    a.integers(&[i64::from(i)]);
                });
            }
            Recipe::Resized { lb, extent, old } => a.addresses(&[*lb, *extent]).types(&[old]),
        };
        a
    }
}

/// Constructor arguments in the order given; [`Arguments::sorted`] deals them out by flavour.
#[derive(Default)]
struct Arguments {
    scalars: Vec<Scalar>,
    types: Vec<Datatype>,
}

#[derive(Clone, Copy)]
enum Scalar {
    Integer(i64),
    Name(Integer),
    Count(i64),
    Address(i64),
}

impl Arguments {
    fn push(&mut self, scalars: impl IntoIterator<Item = Scalar>) -> &mut Arguments {
        self.scalars.extend(scalars);
        self
    }

    fn integers(&mut self, values: &[i64]) -> &mut Arguments {
        self.push(values.iter().map(|&v| Scalar::Integer(v)))
    }

    fn names(&mut self, names: impl IntoIterator<Item = Integer>) -> &mut Arguments {
        self.push(names.into_iter().map(Scalar::Name))
    }

    fn counts(&mut self, values: &[i64]) -> &mut Arguments {
        self.push(values.iter().map(|&v| Scalar::Count(v)))
    }

    fn addresses(&mut self, values: &[i64]) -> &mut Arguments {
        self.push(values.iter().map(|&v| Scalar::Address(v)))
    }

    fn types(&mut self, types: &[&Datatype]) {
        self.types.extend(types.iter().map(|&ty| ty.clone()));
    }

    /// Whether some count does not fit `int`, so that only the large flavour can tell it.
    fn needs_large(&self) -> bool {
        self.scalars.iter().any(|scalar| matches!(scalar, Scalar::Count(v) if i32::try_from(*v).is_err()))
    }

    fn sorted(self, combiner: Combiner, large: bool) -> Contents {
        let mut contents =
            Contents { combiner, integers: vec![], addresses: vec![], large_counts: vec![], datatypes: self.types };
        for scalar in self.scalars {
            match scalar {
                Scalar::Count(value) | Scalar::Address(value) if large => contents.large_counts.push(value),
                Scalar::Address(value) => contents.addresses.push(value),
                // Integers were checked by the constructors; counts fit since the flavour is not large.
                Scalar::Count(value) | Scalar::Integer(value) => contents.integers.push(Integer::Number(value as i32)),
                Scalar::Name(name) => contents.integers.push(name),
            }
        }
        contents
    }
}

impl Datatype {
    /// How the type was made, in numbers (`MPI_Type_get_envelope`).
    pub fn envelope(&self) -> Envelope {
        let contents = self.all_contents();
        Envelope {
            combiner: contents.combiner,
            integers: contents.integers.len(),
            addresses: contents.addresses.len(),
            large_counts: contents.large_counts.len(),
            datatypes: contents.datatypes.len(),
        }
    }

    /// The arguments the type was made from (`MPI_Type_get_contents`).
    ///
    /// # Errors
    /// `MPI_ERR_TYPE` for a named type, which was not made.
    pub fn contents(&self) -> Result<Contents> {
        if let Recipe::Named(basic) = self.0.recipe {
            fail!(Type, "{} is predefined and has no contents; ask MPI_Type_get_envelope first", basic.name());
        }
        Ok(self.all_contents())
    }

    fn all_contents(&self) -> Contents {
        let arguments = self.0.recipe.arguments();
        let large = self.0.large || arguments.needs_large();
        arguments.sorted(self.0.recipe.combiner(), large)
    }

    /// The same type, reported as made by a large-count (`_c`) constructor.
    #[must_use]
    pub fn into_large(self) -> Datatype {
        let name = self.0.name.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Datatype(std::sync::Arc::new(super::Inner {
            layout: self.0.layout.clone(),
            recipe: self.0.recipe.clone(),
            large: true,
            committed: std::sync::atomic::AtomicBool::new(self.is_committed()),
            name: std::sync::Mutex::new(name),
        }))
    }
}

impl Datatype {
    /// The same construction over other predefined types: each is replaced by what `basic` gives. What was counted in elements
    /// counts in the new ones; what was given in bytes stays.
    ///
    /// # Errors
    /// Those of `basic` and of the constructors.
    pub fn with_basics(&self, basic: &dyn Fn(Basic) -> Result<Datatype>) -> Result<Datatype> {
        let inside = |old: &Datatype| old.with_basics(basic);
        let made = match &self.0.recipe {
            Recipe::Named(one) => basic(*one),
            Recipe::F90 { .. } => match self.basic() {
                Some(one) => basic(one),
                None => Ok(self.clone()),
            },
            Recipe::Dup(old) => inside(old),
            Recipe::Contiguous { count, old } => Datatype::contiguous(*count, &inside(old)?),
            Recipe::Vector { count, block, stride, old } => Datatype::vector(*count, *block, *stride, &inside(old)?),
            Recipe::Hvector { count, block, stride, old } => Datatype::hvector(*count, *block, *stride, &inside(old)?),
            Recipe::Indexed { blocks, displs, old } => Datatype::indexed(blocks, displs, &inside(old)?),
            Recipe::Hindexed { blocks, displs, old } => Datatype::hindexed(blocks, displs, &inside(old)?),
            Recipe::IndexedBlock { block, displs, old } => Datatype::indexed_block(*block, displs, &inside(old)?),
            Recipe::HindexedBlock { block, displs, old } => Datatype::hindexed_block(*block, displs, &inside(old)?),
            Recipe::Struct { blocks, displs, types } => {
                let types: Vec<Datatype> = types.iter().map(inside).collect::<Result<_>>()?;
                Datatype::structure(blocks, displs, &types)
            }
            Recipe::Subarray { sizes, subsizes, starts, order, old } => {
                Datatype::subarray(sizes, subsizes, starts, *order, &inside(old)?)
            }
            Recipe::Darray { size, rank, gsizes, distribs, dargs, psizes, order, old } => {
                Datatype::darray(*size, *rank, gsizes, distribs, dargs, psizes, *order, &inside(old)?)
            }
            Recipe::Resized { lb, extent, old } => Datatype::resized(&inside(old)?, *lb, *extent),
        }?;
        made.commit();
        Ok(made)
    }
}
