//! Seeded pairs of schemas: one is made at random, the other is the first after a few changes of the kinds that teams make.

use serde_json::{Map, Value, json};

/// A small generator whose sequence is fixed by its seed (SplitMix64), so that a failing pair can be made again.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Two schema texts, the first before and the second after the changes.
pub(crate) fn pair(seed: u64) -> (Value, Value) {
    let mut dice = Dice::new(seed);
    let mut growing = Growing {
        dice: &mut dice,
        names: Vec::new(),
    };
    let before = growing.schema(4, true);
    let mut after = before.clone();
    for _ in 0..dice.below(5) {
        change(&mut dice, &mut after);
    }
    (before, after)
}

const PRIMITIVES: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];
const NAMES: [&str; 7] = ["A", "B", "C", "D", "E", "F", "G"];
const FIELDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SYMBOLS: [&str; 5] = ["RED", "GREEN", "BLUE", "BLACK", "WHITE"];

struct Growing<'a> {
    dice: &'a mut Dice,
    names: Vec<String>,
}

impl Growing<'_> {
    fn schema(&mut self, depth: usize, union: bool) -> Value {
        let kinds = if depth == 0 {
            6
        } else if union {
            14
        } else {
            12
        };
        match self.dice.below(kinds) {
            0..=4 => self.primitive(),
            5 => self.reference().unwrap_or_else(|| json!("string")),
            6 => json!({"type": "array", "items": self.schema(depth - 1, true)}),
            7 => json!({"type": "map", "values": self.schema(depth - 1, true)}),
            8 => self.enumeration(),
            9 => self.fixed(),
            10 | 11 => self.record(depth - 1),
            _ => self.union(depth - 1),
        }
    }

    fn primitive(&mut self) -> Value {
        match self.dice.below(14) {
            0 => json!({"type": "int", "logicalType": "date"}),
            1 => json!({"type": "long", "logicalType": "timestamp-micros"}),
            2 => json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
            3 => json!({"type": self.dice.pick(&PRIMITIVES)}),
            _ => json!(self.dice.pick(&PRIMITIVES)),
        }
    }

    fn reference(&mut self) -> Option<Value> {
        if self.names.is_empty() {
            return None;
        }
        Some(json!(self.dice.pick(&self.names)))
    }

    fn named(&mut self, kind: &str) -> Map<String, Value> {
        let mut node = Map::new();
        node.insert("type".into(), json!(kind));
        // Names are written in full, so that a reference reads the same wherever it stands.
        let name = loop {
            let simple = *self.dice.pick(&NAMES);
            let name = format!(
                "{}{}{}",
                self.dice.pick(&["n.", "n.", "m.k."]),
                simple,
                self.names.len()
            );
            if !self.names.contains(&name) {
                break name;
            }
        };
        self.names.push(name.clone());
        node.insert("name".into(), json!(name));
        if self.dice.chance(10) {
            node.insert(
                "aliases".into(),
                json!([self.dice.pick(&NAMES), format!("n.{}0", self.dice.pick(&NAMES))]),
            );
        }
        node
    }

    fn enumeration(&mut self) -> Value {
        let mut node = self.named("enum");
        let count = 1 + self.dice.below(SYMBOLS.len());
        node.insert("symbols".into(), json!(SYMBOLS[..count]));
        if self.dice.chance(30) {
            node.insert("default".into(), json!(SYMBOLS[self.dice.below(count)]));
        }
        Value::Object(node)
    }

    fn fixed(&mut self) -> Value {
        let mut node = self.named("fixed");
        node.insert("size".into(), json!(1 + self.dice.below(4)));
        Value::Object(node)
    }

    fn record(&mut self, depth: usize) -> Value {
        let mut node = self.named("record");
        let count = self.dice.below(FIELDS.len());
        let fields: Vec<Value> = FIELDS[..count]
            .iter()
            .map(|name| self.field(name, depth))
            .collect();
        node.insert("fields".into(), json!(fields));
        Value::Object(node)
    }

    fn field(&mut self, name: &str, depth: usize) -> Value {
        let schema = self.schema(depth, true);
        let mut field = json!({"name": name, "type": schema});
        if self.dice.chance(40)
            && let Some(default) = default_for(&field["type"])
        {
            field["default"] = default;
        }
        if self.dice.chance(10) {
            field["aliases"] = json!([self.dice.pick(&["x", "y", "z"])]);
        }
        field
    }

    fn union(&mut self, depth: usize) -> Value {
        let mut branches: Vec<Value> = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let branch = self.schema(depth, false);
            if !branches
                .iter()
                .any(|known| branch_name(known) == branch_name(&branch))
            {
                branches.push(branch);
            }
        }
        json!(branches)
    }
}

/// What tells the branches of a union apart.
fn branch_name(schema: &Value) -> String {
    let name = schema
        .get("name")
        .or_else(|| schema.get("type"))
        .unwrap_or(schema);
    name.as_str().unwrap_or("union").to_owned()
}

/// A default that suits the type, where one can be given without knowing the named types.
fn default_for(schema: &Value) -> Option<Value> {
    if let Some(first) = schema.as_array().and_then(|branches| branches.first()) {
        return default_for(first);
    }
    let kind = schema.get("type").unwrap_or(schema).as_str()?;
    Some(match kind {
        "null" => Value::Null,
        "boolean" => json!(true),
        "int" | "long" => json!(7),
        "float" | "double" => json!(1.5),
        "bytes" | "string" => json!("text"),
        "array" => json!([]),
        "map" => json!({}),
        "enum" => schema["symbols"][0].clone(),
        "fixed" => json!("\u{0}".repeat(usize::try_from(schema["size"].as_u64()?).ok()?)),
        _ => return None,
    })
}

/// Makes one change somewhere in the schema. A change may leave a schema that no parser should accept.
fn change(dice: &mut Dice, root: &mut Value) {
    let mut places = Vec::new();
    collect_schemas(root, String::new(), &mut places);
    let place = dice.pick(&places).clone();
    let node = root.pointer_mut(&place).unwrap();
    match node
        .get("type")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .as_deref()
    {
        Some("record") => change_record(dice, node),
        Some("enum") => change_enum(dice, node),
        Some("fixed") if dice.chance(50) => node["size"] = json!(1 + dice.below(4)),
        Some("fixed") => rename(dice, node),
        _ if node.is_array() => change_union(dice, node),
        _ => change_type(dice, node),
    }
}

/// JSON pointers to every schema inside `node`, itself included.
fn collect_schemas(node: &Value, at: String, places: &mut Vec<String>) {
    places.push(at.clone());
    for key in ["items", "values"] {
        if let Some(inner) = node.get(key) {
            collect_schemas(inner, format!("{at}/{key}"), places);
        }
    }
    for (index, field) in node
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        collect_schemas(&field["type"], format!("{at}/fields/{index}/type"), places);
    }
    for (index, branch) in node.as_array().into_iter().flatten().enumerate() {
        collect_schemas(branch, format!("{at}/{index}"), places);
    }
}

fn change_record(dice: &mut Dice, node: &mut Value) {
    let choice = dice.below(10);
    if choice == 0 {
        return rename(dice, node);
    }
    let fields = node["fields"].as_array_mut().unwrap();
    if choice <= 3 || fields.is_empty() {
        let mut field = json!({"name": dice.pick(&["x", "y", "z"]), "type": dice.pick(&PRIMITIVES)});
        if dice.chance(20) {
            field["type"] = json!({"type": "enum", "name": "n.New", "symbols": ["ONE"], "default": "ONE"});
        }
        if dice.chance(50) {
            field["default"] = default_for(&field["type"]).unwrap();
        }
        let at = dice.below(fields.len() + 1);
        fields.insert(at, field);
        return;
    }
    let at = dice.below(fields.len());
    let field = &mut fields[at];
    match choice {
        4 | 5 => drop(fields.remove(at)),
        6 => drop(field.as_object_mut().unwrap().remove("default")),
        7 => fields.reverse(),
        8 => {
            let other = dice.pick(&FIELDS);
            field["aliases"] = json!([other, "y"]);
        }
        _ => {
            let old = field["name"].clone();
            field["name"] = json!("renamed");
            if dice.chance(60) {
                field["aliases"] = json!([old]);
            }
        }
    }
}

fn change_enum(dice: &mut Dice, node: &mut Value) {
    let symbols = node["symbols"].as_array_mut().unwrap();
    match dice.below(5) {
        0 => symbols.push(json!("PURPLE")),
        1 => drop(symbols.pop()),
        2 => symbols.reverse(),
        3 => match node.get("default") {
            Some(_) => drop(node.as_object_mut().unwrap().remove("default")),
            None => node["default"] = node["symbols"][0].clone(),
        },
        _ => rename(dice, node),
    }
}

/// Renames a named type or moves it to another namespace, with or without an alias for the old name.
fn rename(dice: &mut Dice, node: &mut Value) {
    let old = node["name"].as_str().unwrap().to_owned();
    let simple = old.rsplit('.').next().unwrap().to_owned();
    let new = if dice.chance(50) {
        format!("other.{simple}")
    } else {
        format!("{old}x")
    };
    node["name"] = json!(new);
    match dice.below(4) {
        0 | 1 => node["aliases"] = json!([old]),
        2 => node["aliases"] = json!([simple]),
        _ => {}
    }
}

fn change_union(dice: &mut Dice, node: &mut Value) {
    let branches = node.as_array_mut().unwrap();
    match dice.below(4) {
        0 => branches.push(json!(dice.pick(&PRIMITIVES))),
        1 if branches.len() > 1 => {
            let at = dice.below(branches.len());
            drop(branches.remove(at));
        }
        2 => branches.reverse(),
        _ => {
            let at = dice.below(branches.len());
            if let Some(branch) = branches.get(at).cloned() {
                *node = branch;
            }
        }
    }
}

fn change_type(dice: &mut Dice, node: &mut Value) {
    let old = node.take();
    *node = match dice.below(6) {
        0 => json!(["null", old]),
        1 => json!([old]),
        2 => json!({"type": "array", "items": old}),
        3 => json!({"type": "map", "values": old}),
        _ => json!(dice.pick(&PRIMITIVES)),
    };
}
