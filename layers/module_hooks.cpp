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
Variable with_gradient_hooks(const Variable& y, std::string who, std::vector<std::pair<uint64_t, GradientHook>> hooks) {
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
  uint64_t last_id = 0;
  std::vector<std::pair<uint64_t, ForwardHook>> forward;
  std::vector<std::pair<uint64_t, GradientHook>> gradient;
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
  hooks().forward.emplace_back(++hooks().last_id, std::move(hook));
  return hooks().last_id;
}

uint64_t Module::add_gradient_hook(GradientHook hook) {
  require<ValueError>(static_cast<bool>(hook), "{}: the gradient hook is empty", who("Module"));
  hooks().gradient.emplace_back(++hooks().last_id, std::move(hook));
  return hooks().last_id;
}

void Module::remove_hook(uint64_t id) {
  const auto is_it = [id](const auto& registered) { return registered.first == id; };
  const size_t removed = std::erase_if(hooks().forward, is_it) + std::erase_if(hooks().gradient, is_it);
  require<ValueError>(removed > 0, "{}: there is no hook {} to be removed", who("Module"), id);
}

bool Module::observed() const { return hooks_ != nullptr || observer != nullptr; }

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
