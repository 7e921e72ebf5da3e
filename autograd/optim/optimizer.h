#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autograd/optim/state.h"
#include "autograd/variable.h"
#include "framework/kernels/optim.h"
#include "framework/pending_copy.h"

namespace attune {

/// The leaves that an optimizer trains, under their names: a module's named_parameters() or parameters(). A leaf given
/// twice counts once, under its first name.
class ParameterList {
 public:
  using Entries = std::vector<std::pair<std::string, Variable>>;

  ParameterList(const Entries& parameters);  // NOLINT(google-explicit-constructor): an argument type
  /// Names are those that the leaves know, or "parameter<i>".
  ParameterList(const std::vector<Variable>& parameters);  // NOLINT(google-explicit-constructor)

  const Entries& entries() const { return entries_; }

 private:
  Entries entries_;
};

/// Options for some of the parameters: the first group whose `contains` says yes applies.
struct ParameterGroup {
  std::function<bool(const std::string& name, const Variable& parameter)> contains;
  double learning_rate_factor = 1;       ///< times the optimizer's learning rate
  std::optional<double> weight_decay{};  ///< instead of the optimizer's
};

/// Biases and the gains and shifts of norms (rank 0 and 1) without weight decay, as is usual for Transformers.
ParameterGroup no_decay_of_vectors();

struct StepOptions {
  /// Times every gradient, before clipping: 1 / n after n accumulated micro-batches.
  double gradient_scale = 1;
  /// Gradients whose global L2 norm is larger are scaled down to it (Pascanu et al., 2013); 0: off.
  double clip_norm = 0;
  /// Elements are then limited to [-clip_value, clip_value]; 0: off.
  double clip_value = 0;
};

/// One parameter in a step, as the rule of an optimizer sees it.
struct ParameterUpdate {
  Tensor value;             ///< to be changed in place
  Tensor grad;              ///< scaled and clipped
  std::span<Tensor> state;  ///< to be changed in place, in the order of the optimizer's StateTensors
  int64_t step;             ///< 1 in the parameter's first step
  double learning_rate;     ///< with the factor of its group
  double weight_decay;

  /// grad + weight_decay * value: weight decay as an L2 penalty.
  Tensor penalized_grad() const;
};

/// What an optimizer keeps beside each parameter, zero at first: "<parameter>.<name>" in state().
struct StateTensor {
  const char* name;
  /// The shape beside a parameter of `shape`, nullopt for none (an undefined tensor then); as the parameter's if empty.
  std::function<std::optional<Shape>(const Shape& shape)> shape_of{};
};

/// Base of all optimizers. One of one's own is a constructor and update(), a rule in Tensor arithmetic that runs on
/// every device (examples/custom_optimizer.cpp); groups, clipping, checks, state and resume are inherited.
///
/// On construction the parameters' values and gradients move into flat buffers, so that a fused step is one pass over
/// memory: scaling, clipping, moments and update together. Handles go on working: those to the leaves, and tensors
/// taken from value() or state_dict() earlier. A parameter moved elsewhere since, by another optimizer for instance, is
/// taken back by the next step. Throws ValueError for a parameter that is a view of memory which others hold too.
///
/// Parameters that got no gradient since the last step, and frozen ones, are left alone as if they were not there.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates the parameters from their gradients and forgets those: the next backward() overwrites them. Returns the
  /// global norm of the scaled gradients before clipping when clip_norm is set, 0 otherwise.
  ///
  /// Throws ValueError naming a parameter when something is NaN or infinite. With clip_norm that is the norm, and
  /// nothing has been changed. Without, gradients are checked by the pass that uses them, at no cost, as new values and
  /// moments always are: the step has been made by then, and the way back is to values that were kept before.
  ///
  /// A CUDA device that holds all parameters is not waited for by Sgd, Adam and AdamW. The norm is then that of the
  /// step before, 0 in the first; and the next step, or check_last_step(), throws that error before it does anything.
  double step(const StepOptions& options = {});

  /// Waits for the last step, and throws what the next one would throw of it. On the CPU a step has told everything.
  void check_last_step();

  /// Forgets the gradients.
  void zero_grad();

  /// Global L2 norm of the gradients that the next step would use.
  double gradient_norm();

  double learning_rate() const { return learning_rate_; }
  /// Takes effect with the next step: set_learning_rate(schedule.at(step)).
  void set_learning_rate(double learning_rate);
  /// The weight decay of all groups without one of their own.
  void set_weight_decay(double weight_decay);
  /// The factor and the weight decay of a group, in the order of the options. Throws ValueError for a group that is not
  /// there.
  void set_group_learning_rate_factor(size_t group, double factor);
  void set_group_weight_decay(size_t group, double weight_decay);

  /// All that a run needs to go on bitwise as if it had not been interrupted (after check_last_step()):
  /// "learning_rate", "<parameter>.step" (int64) and the optimizer's tensors, for instance "<parameter>.m"; "groups"
  /// (float64) once weight decays or groups have been set to other values. Tensors share memory with the optimizer:
  /// clone() what is to be kept.
  NamedTensors state() const;
  /// Throws ShapeError listing everything that does not fit.
  void load_state(const NamedTensors& state);

 protected:
  /// The flat buffers of one dtype, and what a step is to do with them.
  struct Flat {
    Tensor value;
    Tensor gradient;
    std::vector<Tensor> moments;  ///< of the state tensors that have the parameters' shapes; undefined for others
    std::vector<FlatRange> ranges;
    Tensor not_finite;  ///< what GradientTransform::not_finite is in every step
    Tensor rounded;     ///< the values in bfloat16, once a parameter was asked for in that (Variable::value_as)
  };

  struct Common {
    double learning_rate;
    double weight_decay = 0;
    std::vector<ParameterGroup> groups{};
  };

  /// who: for messages.
  Optimizer(const char* who, const ParameterList& parameters, const Common& options, std::vector<StateTensor> state);

  /// Throws ValueError naming the first of beta1, beta2, ... that is not in 0 <= beta < 1.
  void check_betas(std::initializer_list<double> betas) const;

  /// The rule. p.value and p.state are changed in place: by `-=`, copy_() and the like.
  virtual void update(ParameterUpdate& p);
  /// One step on the ranges of `flat` by a kernel that keeps to `transform`, in place of update() for each parameter.
  virtual void update_flat(Flat& flat, const GradientTransform& transform);

 private:
  struct Entry {
    std::string name;
    LeafRef leaf;
    Tensor value;  // its pieces of the flat buffers
    Tensor gradient;
    std::vector<Tensor> state;
    size_t flat = 0;
    int64_t begin = 0;
    int64_t end = 0;
    size_t group = 0;  // behind the last: in none
    int64_t steps = 0;
    bool stepped = false;  // in the last step

    bool trains() const { return leaf->requires_grad && leaf->grad_state == Leaf::GradState::kHeld; }
  };

  /// Rates of a group as they are now.
  struct Rates {
    double learning_rate_factor = 1;
    std::optional<double> weight_decay;
  };

  void lay_out();
  double learning_rate_of(const Entry& entry) const;
  double weight_decay_of(const Entry& entry) const;
  double valid_rate(double rate, const char* what) const;
  Rates& rates(size_t group);
  void make_state(Entry& entry);
  void zero_scattered(const Entry& entry, const Flat& flat);
  Tensor rates_as_tensor() const;
  void load_rates(const Tensor& saved);
  void take(Entry& entry);
  void collect_ranges();
  static double norm_of(const Tensor& report);
  Tensor report_of_ranges(double scale, double limit) const;
  double clip(const StepOptions& options, GradientTransform& transform);
  void check_results();
  void require_finite_results(size_t index, const int64_t* found);
  const Entry& entry_at(size_t flat, int64_t index) const;
  void require_finite_values() const;
  [[noreturn]] void fail_not_finite(const Tensor& report) const;
  void round_again(size_t index);
  Tensor piece(const Tensor& flat, const Entry& entry) const;

  const char* who_;
  double learning_rate_ = 0;
  double weight_decay_ = 0;
  std::vector<Rates> rates_;  // of the groups, then of parameters in none
  bool rates_changed_ = false;
  std::vector<StateTensor> state_;
  std::vector<Entry> entries_;
  std::vector<Entry*> order_;  // as they lie in the flat buffers
  std::vector<Flat> flats_;
  bool waits_ = true;         // for gradient norms: unless all parameters are on one CUDA device
  Tensor not_finite_;         // int64 [flats, 2], of all flat buffers where they are on one device
  PendingCopy last_report_;   // of the last step, where that was clipped without waiting
  PendingCopy last_results_;  // not_finite_ after the last step, without waiting
  double last_norm_ = 0;
};

}  // namespace attune
