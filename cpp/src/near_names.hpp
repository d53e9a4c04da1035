// Suggestions for a mistyped name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace climlink {

// Levenshtein distance: the fewest single-character insertions, deletions and replacements from a
// to b.
std::size_t edit_distance(std::string_view a, std::string_view b);

// "x, y, z": at most three of names that resemble wanted, the nearest first; "" if none does.
std::string near_list(std::string_view wanted, const std::vector<std::string_view>& names);

// " Near names: x, y, z.", or "".
std::string near_names(std::string_view wanted, const std::vector<std::string_view>& names);

}  // namespace climlink
