use std::{
    fmt,
    io::{self, Read},
};

#[derive(Debug)]
pub struct Point<'a> {
    x: &'a str,
}

enum Kind {
    One,
    Two { x: i32 },
}

pub trait Area {
    fn area(&self) -> f64;
    fn double(&self) -> f64 {
        2.0 * self.area()
    }
}

impl<'a> Area for Point<'a> {
    fn area(&self) -> f64 {
        let quote = '"';
        let brace = '{';
        let raw = r#"{ " "#;
        /* nested /* { */ */
        match self.x {
            "a" => {
                return 1.0;
            }
            _ => 2.0,
        }
    }
}

mod inner {
    pub fn run(values: Vec<i32>) -> i32 {
        let total = values.iter().map(|v| {
            v + 1
        }).sum();
        for v in values {
            if v > 1 {
                continue;
            } else {
                break;
            }
        }
        while let Some(x) = next() {
            loop {
                break;
            }
        }
        let Some(y) = next() else {
            return 0;
        };
        Point {
            x: "a",
        };
        total
    }
}
