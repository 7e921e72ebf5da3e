#include <algorithm>
#include <exception>
#include <utility>

#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/module.h"
#include "layers/module_observer.h"

namespace attune {
namespace {

thread_local ModuleObserver* observer = nullptr;

template <class Hook>
struct Registered {
  uint64_t id;
  Hook hook;
};

// hook(x), or x where it returns nothing.
template <class Hook, class T>
T through(const std::string& who, const char* kind, const Hook& hook, const T& x) {
  try {
    T other = hook(x);
    return other.defined() ? std::move(other) : x;
  } catch (const std::exception& error) {
    fail<Error>("{}: a {} hook threw: {}", who, kind, error.what());
  } catch (...) {
    fail<Error>("{}: a {} hook threw what is no std::exception", who, kind);
  }
}

// y, whose gradient passes through the hooks.
Variable with_gradient_hooks(const Variable& y, std::string who, std::vector<Registered<GradientHook>> hooks) {
  return Tape::current().record(
      "gradient_hook", y.value(), {&y}, [who = std::move(who), hooks = std::move(hooks)](Grads& g) {
        Tensor dy = g.take_dy();
        for (const auto& [id, hook] : hooks) {
          const Tensor other = through(who, "gradient", hook, dy);
          require<ShapeError>(
              other.shape() == dy.shape() && other.dtype() == dy.dtype() && other.device() == dy.device(),
              "{}: a gradient hook returned {}, expected {}", who, other, dy);
          dy = other;
        }
        g.add(0, std::move(dy));
      });
}

}  // namespace

struct Module::Hooks {
  uint64_t next_id = 0;
  std::vector<Registered<ForwardHook>> forward;
  std::vector<Registered<GradientHook>> gradient;
};

ModuleObserver::ModuleObserver() : before_(std::exchange(observer, this)) {}
ModuleObserver::~ModuleObserver() { observer = before_; }

Module::Module() = default;
Module::~Module() = default;

Module::Hooks& Module::hooks() {
  if (hooks_ == nullptr) hooks_ = std::make_unique<Hooks>();
  return *hooks_;
}

uint64_t Module::add_forward_hook(ForwardHook hook) {
  require<ValueError>(static_cast<bool>(hook), "{}: the forward hook is empty", who("Module"));
  hooks().forward.push_back({++hooks().next_id, std::move(hook)});
  return hooks().next_id;
}

uint64_t Module::add_gradient_hook(GradientHook hook) {
  require<ValueError>(static_cast<bool>(hook), "{}: the gradient hook is empty", who("Module"));
  hooks().gradient.push_back({++hooks().next_id, std::move(hook)});
  return hooks().next_id;
}

void Module::remove_hook(uint64_t id) {
  const auto is_it = [id](const auto& registered) { return registered.id == id; };
  const size_t removed = std::erase_if(hooks().forward, is_it) + std::erase_if(hooks().gradient, is_it);
  require<ValueError>(removed > 0, "{}: there is no hook {} to be removed", who("Module"), id);
}

Variable Module::result(Variable y) const {
  if (hooks_ != nullptr) {
    // A copy: a hook may remove itself.
    const auto forward = hooks_->forward;
    for (const auto& [id, hook] : forward) y = through(who("Module"), "forward", hook, y);
    if (!hooks_->gradient.empty()) y = with_gradient_hooks(y, who("Module"), hooks_->gradient);
  }
  if (observer != nullptr) observer->gave(*this, y);
  return y;
}

}  // namespace attune
