// The part of the C interface that says how a package is opened: options by name and text.
#include "c_guard.hpp"
#include "c_handle.hpp"

using climlink::fail;
using climlink::guarded;
using climlink::need;

int32_t climlink_option_count(void) { return static_cast<int32_t>(climlink::option_table.size()); }

climlink_status climlink_option(int32_t index, const char** name, const char** type,
                                const char** value, const char** set_by, const char** help) {
  return guarded([&] {
    need(name, "name");
    need(type, "type");
    need(value, "value");
    need(set_by, "set_by");
    need(help, "help");
    const auto& option = climlink::item_at(climlink::option_table, index);
    *name = option.name;
    *type = option.type;
    *value = option.value;
    *set_by = option.set_by;
    *help = option.help;
  });
}

climlink_status climlink_options_new(climlink_options** options) {
  return guarded([&] {
    need(options, "options");
    *options = nullptr;
    *options = new climlink_options;
  });
}

climlink_status climlink_options_set(climlink_options* options, const char* name,
                                     const char* value) {
  return guarded([&] {
    need(options, "options");
    need(name, "name");
    need(value, name);
    options->values.set(name, value);
  });
}

climlink_status climlink_options_get(const climlink_options* options, const char* name,
                                     const char** value) {
  return guarded([&] {
    need(options, "options");
    need(name, "name");
    need(value, "value");
    *value = options->values.text(name).c_str();
  });
}

climlink_status climlink_options_free(climlink_options** options) {
  return guarded([&] {
    need(options, "options");
    delete *options;
    *options = nullptr;
  });
}
