// The part of the C interface that asks what a package is.
#include "c_guard.hpp"
#include "c_handle.hpp"
#include "coordinate_check.hpp"
#include "host_check.hpp"

namespace {

using climlink::checked;
using climlink::fail;
using climlink::guarded;
using climlink::item_at;
using climlink::need;

const climlink::Variable& variable_at(const climlink_emulator* emulator, climlink_role role,
                                      int32_t index) {
  return item_at(checked(emulator).layout(role).variables, index);
}

}  // namespace

climlink_status climlink_manifest(const climlink_emulator* emulator, const char** json) {
  return guarded([&] {
    need(json, "json");
    *json = checked(emulator).manifest().json.c_str();
  });
}

climlink_status climlink_digest(const climlink_emulator* emulator, const char** sha256) {
  return guarded([&] {
    need(sha256, "sha256");
    *sha256 = checked(emulator).digest().c_str();
  });
}

climlink_status climlink_device(const climlink_emulator* emulator, const char** device) {
  return guarded([&] {
    need(device, "device");
    *device = checked(emulator).device().c_str();
  });
}

climlink_status climlink_device_memory(const climlink_emulator* emulator, int64_t* held,
                                       int64_t* available, int64_t* total) {
  return guarded([&] {
    need(held, "held");
    need(available, "available");
    need(total, "total");
    const auto memory = checked(emulator).device_memory();
    *held = memory.held;
    *available = memory.free;
    *total = memory.total;
  });
}

climlink_status climlink_engine(const climlink_emulator* emulator, const char** engine) {
  return guarded([&] {
    need(engine, "engine");
    *engine = checked(emulator).engine().name.c_str();
  });
}

climlink_status climlink_precision(const climlink_emulator* emulator, const char** precision) {
  return guarded([&] {
    need(precision, "precision");
    *precision = checked(emulator).engine().precision.c_str();
  });
}

climlink_status climlink_micro_batch(const climlink_emulator* emulator, int64_t* n_row) {
  return guarded([&] {
    need(n_row, "n_row");
    *n_row = checked(emulator).micro_batch();
  });
}

climlink_status climlink_engine_note(const climlink_emulator* emulator, const char** note) {
  return guarded([&] {
    need(note, "note");
    *note = checked(emulator).engine().note.c_str();
  });
}

climlink_status climlink_constraints_off(const climlink_emulator* emulator, const char** names) {
  return guarded([&] {
    need(names, "names");
    *names = checked(emulator).constraints_off().c_str();
  });
}

climlink_status climlink_has_range_policy(const climlink_emulator* emulator, int32_t* yes) {
  return guarded([&] {
    need(yes, "yes");
    *yes = checked(emulator).has_range_policy() ? 1 : 0;
  });
}

climlink_status climlink_host_postprocessing(const climlink_emulator* emulator,
                                             const char** policy) {
  return guarded([&] {
    need(policy, "policy");
    *policy = checked(emulator).manifest().host_postprocessing.c_str();
  });
}

climlink_status climlink_level_count(const climlink_emulator* emulator, int32_t* level_count) {
  return guarded([&] {
    need(level_count, "level_count");
    *level_count = static_cast<int32_t>(checked(emulator).manifest().dim_size("level"));
  });
}

climlink_status climlink_time_step(const climlink_emulator* emulator, double* time_step_s) {
  return guarded([&] {
    need(time_step_s, "time_step_s");
    *time_step_s = checked(emulator).manifest().time_step_s;
  });
}

climlink_status climlink_golden_difference(const climlink_emulator* emulator, double* difference) {
  return guarded([&] {
    need(difference, "difference");
    *difference = checked(emulator).golden_difference();
  });
}

climlink_status climlink_variable_count(const climlink_emulator* emulator, climlink_role role,
                                        int32_t* count, int64_t* total_width) {
  return guarded([&] {
    need(count, "count");
    need(total_width, "total_width");
    const auto& layout = checked(emulator).layout(role);
    *count = static_cast<int32_t>(layout.variables.size());
    *total_width = layout.width;
  });
}

climlink_status climlink_variable(const climlink_emulator* emulator, climlink_role role,
                                  int32_t index, const char** name, const char** units,
                                  int64_t* width, int64_t* offset) {
  return guarded([&] {
    need(name, "name");
    need(units, "units");
    need(width, "width");
    need(offset, "offset");
    const auto& v = variable_at(emulator, role, index);
    *name = v.name.c_str();
    *units = v.units.c_str();
    *width = v.width;
    *offset = v.offset;
  });
}

climlink_status climlink_variable_dims(const climlink_emulator* emulator, climlink_role role,
                                       int32_t index, int32_t* n_dim, const char* const** names,
                                       const int64_t** sizes) {
  return guarded([&] {
    need(n_dim, "n_dim");
    need(names, "names");
    need(sizes, "sizes");
    const auto& v = variable_at(emulator, role, index);
    *n_dim = static_cast<int32_t>(v.sizes.size());
    *names = emulator->dim_names_of(role, static_cast<std::size_t>(index)).data();
    *sizes = v.sizes.data();
  });
}

climlink_status climlink_variable_role(const climlink_emulator* emulator, climlink_role role,
                                       int32_t index, const char** text) {
  return guarded([&] {
    need(text, "text");
    *text = climlink::role_text(variable_at(emulator, role, index).role);
  });
}

climlink_status climlink_dim_size(const climlink_emulator* emulator, const char* dim,
                                  int64_t* size) {
  return guarded([&] {
    need(dim, "dim");
    need(size, "size");
    *size = checked(emulator).manifest().dim_size(dim);
  });
}

climlink_status climlink_require_coordinate(const climlink_emulator* emulator, const char* dim,
                                            const double* values, int64_t n) {
  return guarded([&] {
    need(dim, "dim");
    if (n < 0)
      fail(CLIMLINK_ERROR_ARGUMENT, dim, ": n is ", n,
           "; expected the number of values, 0 or more");
    if (n > 0) need(values, "values");
    const auto& opened = checked(emulator);
    climlink::check_host_coordinate(opened.manifest(), dim, values, n, opened.words());
  });
}

climlink_status climlink_carried_count(const climlink_emulator* emulator, int32_t* count) {
  return guarded([&] {
    need(count, "count");
    *count = static_cast<int32_t>(checked(emulator).manifest().carried.size());
  });
}

climlink_status climlink_carried(const climlink_emulator* emulator, int32_t index,
                                 const char** output, const char** input) {
  return guarded([&] {
    need(output, "output");
    need(input, "input");
    const auto& m = checked(emulator).manifest();
    const auto& pair = item_at(m.carried, index);
    *output = m.outputs.variables[pair.output].name.c_str();
    *input = m.inputs.variables[pair.input].name.c_str();
  });
}

climlink_status climlink_require_units(const climlink_emulator* emulator, climlink_role role,
                                       const char* name, const char* units) {
  return guarded([&] {
    need(name, "name");
    need(units, "units");
    const auto& v = checked(emulator).variable(role, name);
    if (v.units != units) {
      fail(CLIMLINK_ERROR_HOST, v.name, ": the host has units \"", units, "\", the package \"",
           v.units, "\". Convert in the host, with one constant");
    }
  });
}

climlink_status climlink_check_host(const climlink_emulator* emulator,
                                    const climlink_host_variable* variables, int64_t n) {
  return guarded([&] {
    const auto& m = checked(emulator).manifest();
    if (n < 0)
      fail(CLIMLINK_ERROR_ARGUMENT, "n is ", n, "; expected a number of variables, 0 or more");
    if (n > 0) need(variables, "variables");
    for (int64_t i = 0; i < n; ++i) need(variables[i].name, "the name of a host's variable");
    climlink::check_host_variables(m, {variables, static_cast<std::size_t>(n)});
  });
}

climlink_status climlink_vertical_grid(const climlink_emulator* emulator, double* p0_pa,
                                       const double** hyai, const double** hybi, int64_t* n) {
  return guarded([&] {
    need(p0_pa, "p0_pa");
    need(hyai, "hyai");
    need(hybi, "hybi");
    need(n, "n");
    const auto& grid = checked(emulator).manifest().vertical_grid;
    *p0_pa = grid.p0_pa;
    *n = static_cast<int64_t>(grid.hyai.size());
    *hyai = grid.hyai.empty() ? nullptr : grid.hyai.data();
    *hybi = grid.hybi.empty() ? nullptr : grid.hybi.data();
  });
}
