#pragma once

#include <stdexcept>
#include <string>

namespace attune {

/// Base of everything Attune throws. The text is one line: who (op, module path or file), what is wrong with both
/// values, what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes or axes that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An element type that an operation does not take.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// Tensors on different devices, or a device that is not there.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A file or stream that cannot be opened, read or written.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A file that can be read but does not hold what it should.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// An argument outside its range, or a call at the wrong time.
class ValueError : public Error {
 public:
  using Error::Error;
};

}  // namespace attune
