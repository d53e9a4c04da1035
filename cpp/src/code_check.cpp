#include "code_check.hpp"

#include <ATen/core/class_type.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

#include "archive_scan.hpp"
#include "error.hpp"
#include "sha256.hpp"

namespace climlink {
namespace {

using torch::jit::Block;
using torch::jit::Node;

const char* const way_out =
    ". A package is code: ask its author what this is for; where you trust the file, open it with "
    "trust_code (--trust-code)";

// aten:: computes, but for these: files, and what other processes hold.
const std::set<std::string_view> refused_aten = {
    "aten::save",         "aten::from_file",  "aten::to_here",  "aten::local_value",
    "aten::owner",        "aten::owner_name", "aten::is_owner", "aten::confirmed_by_owner",
    "aten::dist_backward"};

// Of prim::, the language itself: values, control flow, attributes, calls of functions that are
// checked as well, and print, which published wrappers do. Left out: fork and await (threads), rpc,
// Python operators, clocks, and what only the optimizer of a running process makes.
const std::set<std::string_view> allowed_prim = {"prim::CallFunction",
                                                 "prim::CallMethod",
                                                 "prim::Constant",
                                                 "prim::ConstantChunk",
                                                 "prim::CreateObject",
                                                 "prim::DictConstruct",
                                                 "prim::Enter",
                                                 "prim::EnumName",
                                                 "prim::EnumValue",
                                                 "prim::Exit",
                                                 "prim::GetAttr",
                                                 "prim::HasAttr",
                                                 "prim::If",
                                                 "prim::ListConstruct",
                                                 "prim::ListUnpack",
                                                 "prim::Loop",
                                                 "prim::ModuleContainerIndex",
                                                 "prim::NumToTensor",
                                                 "prim::Print",
                                                 "prim::RaiseException",
                                                 "prim::SetAttr",
                                                 "prim::StringIndex",
                                                 "prim::TupleConstruct",
                                                 "prim::TupleIndex",
                                                 "prim::TupleSlice",
                                                 "prim::TupleUnpack",
                                                 "prim::Uninitialized",
                                                 "prim::abs",
                                                 "prim::data",
                                                 "prim::device",
                                                 "prim::dtype",
                                                 "prim::index",
                                                 "prim::isinstance",
                                                 "prim::itemsize",
                                                 "prim::layout",
                                                 "prim::max",
                                                 "prim::min",
                                                 "prim::name",
                                                 "prim::nbytes",
                                                 "prim::rangelist",
                                                 "prim::requires_grad",
                                                 "prim::shape",
                                                 "prim::tolist",
                                                 "prim::type",
                                                 "prim::unchecked_cast",
                                                 "prim::unchecked_unwrap_optional"};

// Counts and numbers of devices, which published wrappers print.
const std::set<std::string_view> allowed_cuda = {"cuda::device_count", "cuda::current_device",
                                                 "cuda::_current_device"};

bool starts_with(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Every other namespace is refused: quantized, mkldnn and the like need objects of C++ classes,
// c10d and rpc talk to other processes, and libraries that the host has loaded may have registered
// anything.
bool only_computes(std::string_view kind) {
  if (starts_with(kind, "aten::")) return refused_aten.count(kind) == 0;
  return starts_with(kind, "prim::is_") || allowed_prim.count(kind) > 0 ||
         allowed_cuda.count(kind) > 0;
}

// C++ classes that libtorch or a library has registered.
constexpr std::string_view foreign_classes = "__torch__.torch.classes";

bool is_foreign_class(const c10::TypePtr& type) {
  if (const auto class_type = type->cast<c10::ClassType>()) {
    return class_type->name() && starts_with(class_type->name()->qualifiedName(), foreign_classes);
  }
  const auto inner = type->containedTypes();
  return std::any_of(inner.begin(), inner.end(),
                     [](const c10::TypePtr& t) { return is_foreign_class(t); });
}

class FunctionCheck {
 public:
  FunctionCheck(std::string package, std::string function)
      : package_(std::move(package)), function_(std::move(function)) {}

  void check(const Block* block) const {
    for (const Node* node : block->nodes()) {
      check(node);
      for (const Block* inner : node->blocks()) check(inner);
      check_graphs(node);
    }
  }

 private:
  void check(const Node* node) const {
    const std::string kind = node->kind().toQualString();
    if (!only_computes(kind)) {
      fail(CLIMLINK_ERROR_GRAPH, package_, ": the graph calls ", kind, " in ", function_,
           ", which is none of the operators that only compute", way_out);
    }
    for (const auto* value : node->outputs()) {
      if (!is_foreign_class(value->type())) continue;
      fail(CLIMLINK_ERROR_GRAPH, package_, ": the graph has an object of the C++ class ",
           value->type()->repr_str(), " in ", function_, way_out);
    }
  }

  void check_graphs(const Node* node) const {
    for (const auto name : node->attributeNames()) {
      if (node->kindOf(name) == torch::jit::AttributeKind::g) check(node->g(name)->block());
      if (node->kindOf(name) != torch::jit::AttributeKind::gs) continue;
      for (const auto& graph : node->gs(name)) check(graph->block());
    }
  }

  std::string package_, function_;
};

[[noreturn]] void fail_on_load(const std::string& place, const std::string& word) {
  fail(CLIMLINK_ERROR_GRAPH, place, " names ", word, ", which runs while the file is loaded",
       way_out);
}

void check_names(const std::vector<std::string>& names, const std::string& place) {
  for (const auto& name : names) {
    if (starts_with(name, foreign_classes)) fail_on_load(place, name);
  }
}

void check_source(std::string_view code, const std::string& place) {
  scan_code(code);
  for (const char* word : {"__setstate__", "torch.classes"}) {
    if (code.find(word) != std::string_view::npos) fail_on_load(place, word);
  }
}

}  // namespace

void check_code_entries(caffe2::serialize::PyTorchStreamReader& archive, const std::string& name) {
  for (const std::string& entry : archive.getAllRecords()) {
    const std::string lower = lower_case(entry);  // libtorch finds entries in any case
    if (lower == "model.json") {
      fail(CLIMLINK_ERROR_GRAPH, name,
           ": is TorchScript of a torch before 1.4, whose code cannot be checked. Load and save it "
           "with a newer "
           "torch");
    }
    const bool pickle = ends_with(lower, ".pkl");
    if (ends_with(lower, ".debug_pkl") || (!pickle && !starts_with(lower, "code/"))) continue;
    const auto [data, size] = archive.getRecord(entry);
    const std::string_view contents(static_cast<const char*>(data.get()), size);
    try {
      if (pickle) check_names(scan_pickle(contents), name + ": entry " + entry);
      if (!pickle) check_source(contents, name + ": entry " + entry);
    } catch (const ScanProblem& problem) {
      fail(CLIMLINK_ERROR_PACKAGE, name, ": entry ", entry,
           " is damaged or was not written by TorchScript: ", problem.what(),
           ". Export the package again");
    }
  }
}

void check_operators(const torch::jit::Module& module, const std::string& name) {
  const auto unit = module._ivalue()->compilation_unit();
  std::set<const torch::jit::Function*> checked;
  for (std::size_t before = 1;
       checked.size() != before;) {  // compiling one function may define others
    before = checked.size();
    for (torch::jit::Function* function : unit->get_functions()) {
      if (!checked.insert(function).second) continue;
      auto* graph_function = torch::jit::tryToGraphFunction(*function);
      if (graph_function == nullptr) continue;
      FunctionCheck(name, function->qualname().qualifiedName())
          .check(graph_function->graph()->block());
    }
  }
}

}  // namespace climlink
