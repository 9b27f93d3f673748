"""The public interfaces: .proto files and what is generated from them."""
