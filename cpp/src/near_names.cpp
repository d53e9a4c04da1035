#include "near_names.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace climlink {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string near_list(std::string_view wanted, const std::vector<std::string_view>& names) {
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (const auto name : names) {
    const std::size_t distance = edit_distance(wanted, name);
    const bool contains = !wanted.empty() && name.find(wanted) != std::string_view::npos;
    // Farther than half the longer name is a different word, unless one contains the other.
    if (contains || 2 * distance <= std::max(wanted.size(), name.size()))
      ranked.emplace_back(distance, name);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& x, const auto& y) { return x.first < y.first; });
  if (ranked.size() > 3) ranked.resize(3);
  std::string list;
  for (const auto& [distance, name] : ranked)
    list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

std::string near_names(std::string_view wanted, const std::vector<std::string_view>& names) {
  const std::string list = near_list(wanted, names);
  return list.empty() ? list : " Near names: " + list + ".";
}

}  // namespace climlink
