// SHA-256 of bytes in memory.
#pragma once

#include <string>
#include <string_view>

namespace climlink {

// The digest as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view bytes);

// True for exactly 64 hexadecimal digits of either case.
bool is_sha256_hex(std::string_view digest);

// Lower-case copy of an ASCII text.
std::string lower_case(std::string_view ascii);

}  // namespace climlink
