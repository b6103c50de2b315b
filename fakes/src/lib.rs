#![doc = "fakes"]
