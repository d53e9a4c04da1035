// Everything of a package that can be known and checked without torch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "manifest.hpp"

namespace climlink {

struct Package {
  Wording words;       // of messages about it
  std::string name;    // path or the caller's name, for messages
  std::string digest;  // SHA-256 of the whole file, lower-case hexadecimal
  Manifest manifest;
  std::vector<float> golden_inputs;   // [golden.sample_count, inputs.width]
  std::vector<float> golden_outputs;  // [golden.sample_count, outputs.width]
};

// Whole file in memory; Error(FILE) if it cannot be read, is no regular file (a pipe is not waited
// for) or too large.
std::string read_file(const std::string& path);

// Entries of an archive, a package or plain TorchScript: each name once, sizes in bounds, every
// entry read once to its end so that its CRC is checked. Throws Error: FILE, PACKAGE or, for a
// manifest beyond its bounds, SCHEMA.
void check_archive(std::string_view bytes, const std::string& name);

// One entry of a package, the only one whose path ends in suffix. Throws Error: FILE or PACKAGE.
std::string read_entry(std::string_view bytes, const std::string& name, std::string_view suffix);

// Digest (against pinned_sha256 unless that is ""), zip, manifest and golden rows of a package,
// in this order; golden sequences must chain: start is 1 in their first step and 0 later, and a
// step's carried inputs are the bytes of the carried outputs before. Throws Error: DIGEST, FILE,
// PACKAGE or SCHEMA.
Package read_package(std::string_view bytes, const std::string& name,
                     const std::string& pinned_sha256, const Wording& words);

}  // namespace climlink
