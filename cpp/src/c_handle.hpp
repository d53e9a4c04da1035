// What the handles point to, for the files of the C interface.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "climlink/climlink.h"
#include "emulator.hpp"
#include "error.hpp"
#include "options.hpp"

struct climlink_options {
  climlink::Options values;
};

struct climlink_emulator {
  climlink_emulator(std::string_view bytes, const std::string& name,
                    const climlink::Options& options,
                    std::unique_ptr<climlink::Group> group = nullptr)
      : emulator(bytes, name, options, std::move(group)),
        input_dim_names(dim_names(emulator.manifest().inputs)),
        output_dim_names(dim_names(emulator.manifest().outputs)) {}

  const std::vector<const char*>& dim_names_of(climlink_role role, std::size_t index) const {
    return (role == CLIMLINK_INPUT ? input_dim_names : output_dim_names)[index];
  }

  climlink::Emulator emulator;

 private:
  using Names = std::vector<std::vector<const char*>>;  // [variable][dimension], into the manifest

  static Names dim_names(const climlink::Layout& layout) {
    Names names;
    for (const auto& v : layout.variables) {
      auto& row = names.emplace_back();
      for (const auto& dim : v.dims) row.push_back(dim.c_str());
    }
    return names;
  }

  Names input_dim_names, output_dim_names;
};

namespace climlink {

// The emulator behind a handle; Error(ARGUMENT) for a null pointer.
template <class Handle>
auto& checked(Handle* handle) {
  if (handle == nullptr)
    fail(CLIMLINK_ERROR_ARGUMENT, "the emulator is not open; open a package first");
  return handle->emulator;
}

// An item by its index from outside; Error(ARGUMENT) where there is none.
template <class Items>
const auto& item_at(const Items& items, std::int32_t index) {
  if (index < 0 || static_cast<std::size_t>(index) >= items.size()) {
    fail(CLIMLINK_ERROR_ARGUMENT, "index is ", index, "; expected 0 or more and less than ",
         items.size());
  }
  return items[static_cast<std::size_t>(index)];
}

}  // namespace climlink
