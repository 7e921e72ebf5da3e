#pragma once

#include "layers/module.h"

namespace attune {

/// While it lives, told of every result that modules of this thread give (Module::result), those of children first. The
/// latest of several is told.
class ModuleObserver {
 public:
  ModuleObserver();
  virtual ~ModuleObserver();
  ModuleObserver(const ModuleObserver&) = delete;
  ModuleObserver& operator=(const ModuleObserver&) = delete;

  virtual void gave(const Module& module, const Variable& y) = 0;

 private:
  ModuleObserver* before_;
};

}  // namespace attune
