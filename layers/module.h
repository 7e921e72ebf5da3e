#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace attune {

/// Dotted names with their tensors, in declaration order.
using StateDict = std::vector<std::pair<std::string, Tensor>>;

/// A copy with memory of its own, which later training leaves as it is: auto best = clone(model.state_dict()). Tensors
/// that are one stay one.
StateDict clone(const StateDict& state);

/// What activations and products are in. Parameters, their gradients, statistics and losses stay what they are.
enum class Precision : uint8_t {
  kFull,      ///< the dtype of the parameters
  kBFloat16,  ///< bfloat16: mixed precision
};

/// What looks at results that a module gives: what it returns, where that is defined, stands for the result.
using ForwardHook = std::function<Variable(const Variable& y)>;

/// Base of all layers: owns children and parameters under names. Declaring is registering:
///
///     struct Head : Module {
///       Head(int64_t dim) : norm_(child<LayerNorm>("norm", dim)), scale_(parameter("scale", Tensor::full({dim}, 1)))
///       {} LayerNorm& norm_; Variable scale_;
///     };
///
/// Modules are neither copied nor moved: children are referred to by reference.
class Module {
 public:
  Module();
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// All parameters, this module's first, then its children's, with dotted names ("encoder.block0.norm.weight").
  /// A shared parameter appears under each of its names; parameters() lists it once.
  std::vector<std::pair<std::string, Variable>> named_parameters() const;
  std::vector<Variable> parameters() const;
  /// Number of trainable elements, shared ones counted once.
  int64_t parameter_count() const;

  /// Parameters and buffers (see `buffer`), values shared with the module: clone() is a copy.
  StateDict state_dict() const;
  /// Copies values into the module (converting between floating dtypes). Throws ShapeError listing all missing,
  /// unexpected and mismatched entries, and different values for one shared parameter, at once, with both shapes and,
  /// for an unexpected name, the nearest one that exists. Nothing is changed then.
  void load_state_dict(const StateDict& state);

  /// Training mode switches dropout (and batch statistics), never gradients.
  void train(bool training = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  /// Of this module and not of those below it.
  void train_alone(bool training) { training_ = training; }

  /// Of this module and all below it. It is where activations come about, in embeddings and encoders of pictures, that
  /// the precision is chosen: every other layer computes in the dtype of what it is given.
  void set_precision(Precision precision);
  Precision precision() const { return precision_; }

  /// Converts every floating parameter, buffer and constant (float64 for gradient checks); gradients are forgotten. To
  /// be called before an optimizer is made.
  void to(DType dtype);
  /// Moves every parameter, buffer and constant to a device; as to(DType) otherwise.
  void to(Device device);
  void zero_grad();
  /// Parameters of this module and of all below it are not trained any more, and their gradients are forgotten.
  /// Switches neither dropout nor batch statistics: see eval().
  void freeze() { set_trainable(false); }
  void unfreeze() { set_trainable(true); }

  /// Called in their order for every result of this module: what operator() returns, of attention its output. Modules
  /// of one's own return result(y). Throws ValueError for an empty function; what a hook throws becomes an Error that
  /// names the module. Returns what remove_hook() takes.
  uint64_t add_forward_hook(ForwardHook hook);
  /// The same for gradients of those results. Nothing is called where no gradient flows.
  uint64_t add_gradient_hook(GradientHook hook);
  /// Throws ValueError for a hook that is not there.
  void remove_hook(uint64_t id);
  /// Results of this module are looked at, by hooks or by summary(): it must give them on its own, where it would
  /// otherwise be fused with others.
  bool observed() const;

  /// Dotted path from the root module: "encoder.block0.attn"; empty for the root.
  std::string path() const;
  /// path() for messages, or the given layer name at the root.
  std::string who(const char* layer) const;

  /// Calls f(path, module) for this module and all below it, parents first; paths begin at this module.
  void visit(const std::function<void(const std::string&, Module&)>& f);

 protected:
  /// Creates a child that this module owns.
  template <class T, class... Args>
  T& child(const std::string& name, Args&&... args) {
    return own(name, std::make_unique<T>(std::forward<Args>(args)...));
  }
  /// Takes over a child made elsewhere. Throws ValueError for nullptr.
  template <class T>
  T& own(const std::string& name, std::unique_ptr<T> module) {
    T* address = module.get();
    adopt(name, std::move(module));
    return *address;
  }
  /// Puts another child in the place of one, which is destroyed: what referred to that one takes the result instead. It
  /// trains or not, and is of the precision, as this module. Throws ValueError where there is no such child.
  template <class T, class... Args>
  T& replace_child(const std::string& name, Args&&... args) {
    auto module = std::make_unique<T>(std::forward<Args>(args)...);
    T& added = *module;
    exchange_child(name, std::move(module));
    return added;
  }
  // Names of children, parameters and buffers are unique within a module, not empty, without '.' and '/'; ValueError
  // otherwise.

  /// Registers a parameter and returns its handle.
  Variable parameter(std::string name, Tensor initial);
  /// Registers an existing parameter under another name: weight sharing.
  Variable share(std::string name, const Variable& parameter);
  /// Registers a tensor that is saved with the module and not trained.
  Variable buffer(std::string name, Tensor initial);
  /// Registers a tensor that follows to() and is neither saved nor trained: what the options determine.
  Variable constant(Tensor initial);

  /// First activations, as precision() wants them.
  Variable in_precision(const Variable& x) const;

  /// y as the hooks leave it: what operator() of a layer returns.
  Variable result(Variable y) const;

 private:
  enum class Kind : uint8_t { kParameter, kBuffer, kConstant };
  struct Entry {
    std::string name;
    Variable variable;
    Kind kind;
  };

  struct Hooks;

  void adopt(std::string name, std::unique_ptr<Module> module);
  void exchange_child(const std::string& name, std::unique_ptr<Module> module);
  void set_trainable(bool trainable);
  std::vector<std::string> child_names() const;
  Hooks& hooks();
  Module& root();
  Variable enter(std::string name, Variable variable, Kind kind);
  void check_name(const std::string& name) const;
  void replace_values(const std::function<Tensor(const Tensor&)>& f);
  void collect(const std::string& prefix, bool with_buffers, std::vector<std::pair<std::string, Variable>>& out) const;
  /// True when a leaf that was named is shared by several modules.
  static bool name_leaf(const Entry& entry, const std::string& prefix);
  bool name_leaves(const std::string& prefix);

  std::string name_;
  Module* parent_ = nullptr;
  bool training_ = true;
  Precision precision_ = Precision::kFull;
  std::vector<Entry> entries_;
  std::vector<std::unique_ptr<Module>> children_;
  std::unique_ptr<Hooks> hooks_;
};

}  // namespace attune
