#![doc = "edge-agent"]
