// The structure of pickles and code, looked at before libtorch's recursive readers.
#include <catch2/catch.hpp>

#include "archive_scan.hpp"

using Catch::Matchers::Contains;
using climlink::scan_code;
using climlink::scan_pickle;
using climlink::ScanProblem;

namespace {

std::string repeated(const std::string& part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += part;
  return text;
}

void refuses_pickle(const std::string& pickle, const std::string& words) {
  CAPTURE(words);
  CHECK_THROWS_WITH(scan_pickle(pickle), Contains(words));
}

void refuses_code(const std::string& code, const std::string& words) {
  CAPTURE(code.substr(0, 40));
  CHECK_THROWS_WITH(scan_code(code), Contains(words));
}

}  // namespace

TEST_CASE("a pickle's names are read however they are cut", "[scan]") {
  CHECK(scan_pickle("\x80\x02"
                    "c__torch__.torch\nclasses.quantized.Packed\n.") ==
        std::vector<std::string>{"__torch__.torch.classes.quantized.Packed"});
}

TEST_CASE("values of a pickle may be nested 256 deep", "[scan]") {
  CHECK_NOTHROW(scan_pickle("N" + repeated("\x85", 256) + "."));
  refuses_pickle("N" + repeated("\x85", 257) + ".", "nested deeper than 256");
  CHECK_NOTHROW(scan_pickle(repeated("](", 256) + repeated("e", 256) + "."));
  refuses_pickle(repeated("](", 258) + repeated("e", 258) + ".", "nested deeper than 256");
  // Flat and long is no depth.
  CHECK_NOTHROW(scan_pickle("](" + repeated("N", 100'000) + "e."));
  // Depth that grows through the memo behind the scan's back.
  refuses_pickle(std::string("]q\0]q\1h\0(h\1e.", 13), "grows after it was stored");
}

TEST_CASE("sizes and numbers that a pickle claims are held against what is there", "[scan]") {
  refuses_pickle(std::string("X\xff\xff\xff\xee"
                             "abc.",
                             9),
                 "beyond its end");
  refuses_pickle("\x8a\xff.", "beyond its end");
  refuses_pickle(std::string("Nr\xff\xff\xff\xee.", 7), "memo number 4009754623 after 0 values");
  refuses_pickle("h\5.", "memo number 5 of 0");
  refuses_pickle("N", "beyond its end");
  refuses_pickle("t.", "without its mark");
  refuses_pickle("R.", "without its values");
  refuses_pickle("cname without end", "a name without an end");
  refuses_pickle("S'text'\n.", "instruction 83, which TorchScript does not write");
}

TEST_CASE("code may nest 256 deep in each way a parser recurses", "[scan]") {
  const std::string line = "  return torch.add(x, 1)\n";
  CHECK_NOTHROW(scan_code(repeated(line, 10'000)));
  CHECK_NOTHROW(scan_code("x = " + repeated("(", 256) + repeated(")", 256) + "\n"));
  refuses_code("x = " + repeated("(", 257), "nested deeper than 256");
  refuses_code("x = " + repeated("[(\n", 150), "nested deeper than 256");
  refuses_code("x = " + repeated("f(a, ", 300), "nested deeper than 256");
  refuses_code("x = " + repeated("-", 5'000) + "y\n", "more than 4096 characters");
  refuses_code("x = (y" + repeated("\n.T", 5'000) + ")\n", "more than 4096 characters");
  refuses_code("x = y" + repeated("\\\n.T", 5'000) + "\n", "more than 4096 characters");
  refuses_code(std::string(600, ' ') + "pass\n", "nested deeper than 256");
  refuses_code("if a:\n  pass\n" + repeated("elif b:\n  pass\n", 300), "more than 256 branches");
  // A long list is flat, and what stands in a text or a comment nests nothing.
  CHECK_NOTHROW(scan_code("x = [" + repeated("1.5, ", 100'000) + "]\n"));
  CHECK_NOTHROW(scan_code("x = \"" + repeated("(", 1'000) + "\\\"((\"\n# " + repeated("(", 1'000) +
                          "\n" + repeated("y = '''('\n'''\n", 300)));
  // A closing bracket in a text closes none.
  refuses_code("x = " + repeated("f(\")\", ", 300), "nested deeper than 256");
}
