// What a host has against a package, in one message, and the package's vertical grid.
#include <catch2/catch.hpp>
#include <cmath>

#include "support.hpp"

using Catch::Matchers::Contains;
using Catch::Matchers::Equals;
using support::Handle;

namespace {

using Table = std::vector<climlink_host_variable>;

const Table tiny_host = {{"state_t", "K", "level", 0},
                         {"state_q0001", "kg/kg", "level", 0},
                         {"state_ps", "Pa", "", 0},
                         {"ptend_t", "K/s", "level", 1},
                         {"cam_out_PRECC", "m/s", "", 1}};

climlink_status check(const climlink_emulator* emulator, const Table& table) {
  return climlink_check_host(emulator, table.data(), static_cast<int64_t>(table.size()));
}

// The only complaint about the tiny package's host once one entry has been changed.
template <class Edit>
void complains(climlink_status status, const std::string& words, const Edit& edit) {
  const Handle handle("tiny.pt");
  Table table = tiny_host;
  edit(table);
  CHECK(std::string(climlink_status_name(check(handle, table))) == climlink_status_name(status));
  CHECK_THAT(climlink_last_message(),
             Equals("the package fixture does not fit this host: " + words +
                    ". Use a package made for this host, or change the host's table"));
}

}  // namespace

TEST_CASE("a host that gives and takes what the package has fits, in any order", "[torch]") {
  const Handle handle("tiny.pt");
  CHECK(check(handle, tiny_host) == CLIMLINK_OK);
  CHECK(check(handle, Table(tiny_host.rbegin(), tiny_host.rend())) == CLIMLINK_OK);
  // What a host could give besides, and outputs that it does not take.
  CHECK(check(handle, {tiny_host[0], tiny_host[1], tiny_host[2], {"state_u", "m/s", "level", 0}}) ==
        CLIMLINK_OK);
  // A name may be an input and an output.
  CHECK(check(Handle("memory_bare.pt"), {{"forcing", "1", "level", 0}}) == CLIMLINK_OK);
  // No claim about units and dims.
  Table silent = tiny_host;
  silent[0].units = nullptr;
  silent[1].units = "";
  silent[2].dims = nullptr;
  CHECK(check(handle, silent) == CLIMLINK_OK);
}

TEST_CASE("every kind of misfit is named", "[torch]") {
  complains(CLIMLINK_ERROR_VARIABLE,
            "inputs that the host does not give: state_q0001 (near names: state_q0002, state_t, "
            "state_ps)",
            [](Table& t) { t[1].name = "state_q0002"; });
  complains(CLIMLINK_ERROR_VARIABLE,
            "inputs that the host does not give: state_t (near names: state_ps), state_q0001 (near "
            "names: state_ps)",
            [](Table& t) { t.erase(t.begin(), t.begin() + 2); });
  complains(CLIMLINK_ERROR_VARIABLE,
            "outputs that the host takes and the package does not have: ptend_T (near names: "
            "ptend_t)",
            [](Table& t) { t[3].name = "ptend_T"; });
  complains(CLIMLINK_ERROR_VARIABLE, "names that stand twice in the host's table: state_ps",
            [](Table& t) { t.insert(t.end(), 2, t[2]); });
  complains(CLIMLINK_ERROR_HOST,
            "other units (convert in the host, with one constant): state_ps (host hPa, package Pa)",
            [](Table& t) { t[2].units = "hPa"; });
  complains(CLIMLINK_ERROR_HOST,
            "other units (convert in the host, with one constant): ptend_t (host s/K, package K/s)",
            [](Table& t) { t[3].units = "s/K"; });
  complains(CLIMLINK_ERROR_HOST,
            "other dims: state_t (host [], package [level]), state_ps (host [level], package [])",
            [](Table& t) { std::swap(t[0].dims, t[2].dims); });
}

TEST_CASE("one message says all that does not fit", "[torch]") {
  const Handle handle("tiny.pt");
  const Table table = {{"state_T", "K", "level", 0},   {"state_q0001", "g/kg", "level", 0},
                       {"state_ps", "Pa", "level", 0}, {"state_ps", "Pa", "level", 0},
                       {"ptend_q", "1/s", "level", 1}, {"cam_out_PRECC", "mm/day", "", 1}};
  CHECK(check(handle, table) == CLIMLINK_ERROR_VARIABLE);
  CHECK_THAT(climlink_last_message(),
             Contains("does not give: state_t (near names: state_T, state_ps") &&
                 Contains("not have: ptend_q (near names: ptend_t)") &&
                 Contains("stand twice in the host's table: state_ps;") &&
                 Contains("state_q0001 (host g/kg, package kg/kg), cam_out_PRECC (host mm/day, "
                          "package m/s)") &&
                 Contains("other dims: state_ps (host [level], package [])"));
}

TEST_CASE("every input of a large package is named, however long the message", "[torch]") {
  CHECK(check(Handle("mlp.pt"), {}) == CLIMLINK_ERROR_VARIABLE);
  for (int i = 0; i < 9; ++i)
    CHECK_THAT(climlink_last_message(), Contains("profile_" + std::to_string(i)));
  for (int i = 0; i < 17; ++i)
    CHECK_THAT(climlink_last_message(), Contains("scalar_" + std::to_string(i)));
}

TEST_CASE("what the emulator carries is not the host's to give, but its to take", "[torch]") {
  const Handle handle("memory_bare.pt");
  Table table = {{"forcing", "1", "level", 0}, {"memory_next", nullptr, "level", 1}};
  CHECK(check(handle, table) == CLIMLINK_OK);
  table.push_back({"memory", "1", "level", 0});
  table.push_back({"start", "1", "", 0});
  CHECK(check(handle, table) == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(),
             Contains("memory (carried): give it another name in the package, start (start): give "
                      "it another name in the package"));
}

TEST_CASE("the order of dims is the host's own, their names are not", "[fields]") {
  const Handle handle("field.pt");
  const auto with = [&](const char* sst, const char* soil) {
    return check(handle, {{"sst", "K", sst, 0}, {"soil", "1", soil, 0}, {"season", "K", "", 0}});
  };
  CHECK(with("lat lon", "lat lon depth") == CLIMLINK_OK);
  CHECK(with(" lon  lat ", "depth lat lon") == CLIMLINK_OK);
  CHECK(with("lat lat", "lat lon depth") == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(), Contains("sst (host [lat lat], package [lat lon])"));
  CHECK(with("lat lon", "lat lon") == CLIMLINK_ERROR_HOST);
  CHECK_THAT(climlink_last_message(), Contains("soil (host [lat lon], package [lat lon depth])"));
}

TEST_CASE("a table is read with care", "[torch]") {
  const Handle handle("tiny.pt");
  CHECK(climlink_check_host(handle, nullptr, 3) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_check_host(handle, nullptr, -1) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(climlink_check_host(nullptr, tiny_host.data(), 5) == CLIMLINK_ERROR_ARGUMENT);
  CHECK(check(handle, {{nullptr, "K", "level", 0}}) == CLIMLINK_ERROR_ARGUMENT);
  CHECK_THAT(climlink_last_message(), Contains("the name of a host's variable"));
}

TEST_CASE("the vertical grid is the manifest's interfaces, where it has some", "[torch]") {
  const Handle handle("tiny.pt");
  double p0_pa = 0;
  const double *hyai = nullptr, *hybi = nullptr;
  int64_t n = 0;
  REQUIRE(climlink_vertical_grid(handle, &p0_pa, &hyai, &hybi, &n) == CLIMLINK_OK);
  REQUIRE(n == 5);
  CHECK(p0_pa == 1e5);
  for (int64_t k = 0; k < n; ++k) {
    CHECK(hyai[k] == Approx(0.1 * static_cast<double>(4 - k) / 4));
    CHECK(hybi[k] == Approx(static_cast<double>(k) / 4));
  }
  const Handle field("field.pt");
  REQUIRE(climlink_vertical_grid(field, &p0_pa, &hyai, &hybi, &n) == CLIMLINK_OK);
  CHECK((n == 0 && hyai == nullptr && hybi == nullptr));
  CHECK(climlink_vertical_grid(field, nullptr, &hyai, &hybi, &n) == CLIMLINK_ERROR_ARGUMENT);
}
