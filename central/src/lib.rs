#![doc = "central"]
