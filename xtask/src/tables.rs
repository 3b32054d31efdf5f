//! Reads the standard's tables: functions, constants, callback types.

use std::path::Path;

/// One function of the standard.
pub struct Function {
    /// The file of the C surface it belongs to.
    pub chapter: String,
    /// `MPI_Send`, `MPI_Send_c`, ...
    pub name: String,
    /// The C type it returns.
    pub returns: String,
    /// The C parameter list as written between parentheses.
    pub parameters: String,
}

/// One named constant.
pub struct Constant {
    /// `MPI_COMM_WORLD`, ...
    pub name: String,
    /// Its C type.
    pub kind: String,
    /// Its value; handles and pointers as integers.
    pub value: i64,
}

/// One callback type.
pub struct Callback {
    /// The name of the function type.
    pub name: String,
    /// The C type it returns.
    pub returns: String,
    /// The C parameter list.
    pub parameters: String,
}

/// How functions whose names fit a pattern behave on the embedded engine.
pub struct Behaviour {
    /// Names without `MPI_`; `*` is anything.
    pub pattern: String,
    /// Whom a call waits for.
    pub waits: String,
    /// What it costs.
    pub cost: String,
}

/// The tables.
pub struct Abi {
    /// Every function, in the order of the file.
    pub functions: Vec<Function>,
    /// Every constant, in the order of the file.
    pub constants: Vec<Constant>,
    /// Every callback type, in the order of the file.
    pub callbacks: Vec<Callback>,
    /// Behaviours; the first that fits a function is its.
    pub behaviours: Vec<Behaviour>,
}

impl Abi {
    /// Reads the tables in `folder`.
    pub fn read(folder: &Path) -> Result<Abi, String> {
        let functions = rows(&folder.join("functions.tsv"), 4)?
            .into_iter()
            .map(|r| Function {
                chapter: r[0].clone(),
                name: r[1].clone(),
                returns: r[2].clone(),
                parameters: r[3].clone(),
            })
            .collect();
        let constants = rows(&folder.join("constants.tsv"), 3)?
            .into_iter()
            .map(|r| {
                let value = r[2].parse().map_err(|_| format!("{}: `{}` is not a number", r[0], r[2]))?;
                Ok(Constant { kind: real_type(&r[0], &r[1]).to_string(), name: r[0].clone(), value })
            })
            .collect::<Result<_, String>>()?;
        let callbacks = rows(&folder.join("callbacks.tsv"), 3)?
            .into_iter()
            .map(|r| Callback { name: r[0].clone(), returns: r[1].clone(), parameters: r[2].clone() })
            .collect();
        let behaviours = rows(&folder.join("behaviour.tsv"), 3)?
            .into_iter()
            .map(|r| Behaviour { pattern: r[0].clone(), waits: r[1].clone(), cost: r[2].clone() })
            .collect();
        Ok(Abi { functions, constants, callbacks, behaviours })
    }

    /// Whether the standard has a function of this name.
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.iter().any(|f| f.name == name)
    }
}

/// The table gives `int` for constants that are defined through other names or as addresses;
/// this is what they are in C.
fn real_type<'a>(name: &str, listed: &'a str) -> &'a str {
    match name {
        "MPI_LONG_LONG_INT" | "MPI_C_COMPLEX" => "MPI_Datatype",
        "MPI_BOTTOM" | "MPI_IN_PLACE" | "MPI_BUFFER_AUTOMATIC" => "void*",
        "MPI_ARGV_NULL" => "char**",
        "MPI_ARGVS_NULL" => "char***",
        "MPI_ERRCODES_IGNORE" | "MPI_UNWEIGHTED" | "MPI_WEIGHTS_EMPTY" => "int*",
        _ => listed,
    }
}

fn rows(path: &Path, columns: usize) -> Result<Vec<Vec<String>>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty());
    lines.next();
    lines
        .map(|(number, line)| {
            let row: Vec<String> = line.split('\t').map(str::to_string).collect();
            if row.len() == columns {
                Ok(row)
            } else {
                Err(format!("{}:{}: {} columns, expected {columns}", path.display(), number + 1, row.len()))
            }
        })
        .collect()
}
