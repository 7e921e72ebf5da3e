#pragma once

#include <nlohmann/json.hpp>

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "layers/module.h"
#include "tests/golden/case.h"

namespace attune::golden {

/// A case that Attune cannot be compared in; says why.
class Skip : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A case's options under PyTorch's names. Every option must be asked for: one that nobody knows is a reason to skip,
/// never one to go on without it.
class Options {
 public:
  explicit Options(const nlohmann::json& config) : config_(config) {}

  /// The option, or `otherwise` when it is absent or null. Throws FormatError when it is of another type.
  template <class T>
  T get(const std::string& name, T otherwise) {
    const nlohmann::json* value = look(name);
    if (value == nullptr || value->is_null()) return otherwise;
    T out{};
    try {
      value->get_to(out);
    } catch (const nlohmann::json::exception&) {
      fail_type(name);
    }
    return out;
  }
  /// The same for an option that must be there.
  int64_t required(const std::string& name);
  bool has(const std::string& name) { return look(name) != nullptr && !config_.at(name).is_null(); }
  /// Throws Skip when the option is there with another value: Attune has no other.
  void only(const std::string& name, const nlohmann::json& value);
  /// Options without a bearing on the results.
  void ignore(std::initializer_list<const char*> names) { read_.insert(names.begin(), names.end()); }
  /// Throws Skip when an option was never asked for.
  void finish() const;

 private:
  const nlohmann::json* look(const std::string& name);
  [[noreturn]] void fail_type(const std::string& name) const;

  const nlohmann::json& config_;
  std::set<std::string> read_;
};

/// How a parameter of PyTorch's is called here: rows begin ... end of `torch` (all when end is -1), in another shape
/// perhaps, are `ours`.
struct Link {
  std::string torch;
  std::string ours;
  int64_t begin = 0;
  int64_t end = -1;
};

struct Verdict {
  bool ok = true;
  double max_error = 0;  ///< largest |ours - expected|
  double share = 0;      ///< largest share of the tolerance used
  std::string detail;    ///< of the first mismatch
};

/// One case computed by Attune in one dtype on one device: hands out the inputs, collects the results, compares.
class Session {
 public:
  Session(const Case& given, DType dtype, Device device) : case_(given), dtype_(dtype), device_(device) {}

  const Case& given() const { return case_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  bool has(const std::string& name) const { return find(case_.inputs, name) != nullptr; }
  /// A floating input as a leaf with a gradient. Throws FormatError when it is absent or not floating.
  Variable input(const std::string& name);
  /// An input of indices or a boolean mask. Throws FormatError when it is absent or of another dtype.
  Tensor tensor(const std::string& name, DType dtype);
  /// An input as it is, on the CPU. Throws FormatError when it is absent.
  const Tensor& raw(const std::string& name);

  /// Fills the module with the case's parameters, in this session's dtype and in evaluation mode.
  void load(Module& module, const std::vector<Link>& links);
  void output(const std::string& name, const Variable& value) { outputs_.emplace_back(name, value); }

  /// Throws Skip when the case has an input that nobody asked for.
  void check_inputs() const;
  /// Runs backward and compares outputs and gradients with the file.
  Verdict verdict();

 private:
  void compare(Verdict& verdict, const std::string& what, const Tensor& ours, const Tensor& expected) const;

  const Case& case_;
  DType dtype_;
  Device device_;
  std::set<std::string> read_;
  std::vector<std::pair<std::string, Variable>> inputs_;
  std::vector<std::pair<std::string, Variable>> outputs_;
  std::vector<std::pair<Link, Variable>> parameters_;
};

}  // namespace attune::golden
