// leash.hpp - leash.h for C++17: a JSON-RPC server on a leash, with RAII.
// SPDX-License-Identifier: MIT OR Apache-2.0
//
//   leash::connection c = leash::connection::open({"some-server"});
//   leash::event answer = c.call("add", "[1,2]");
//   std::cout << answer.json() << "\n";
//
// Every function that can fail has two forms: `call` throws leash::error, `try_call` gives back a
// leash::result (std::expected in C++23). With -fno-exceptions only the second is there.
//
// What leash.h says of threads, strings, time, forks and signals holds here, too. Views that an
// event gives live as long as the event; asking a temporary for one does not compile.
#ifndef LEASH_HPP
#define LEASH_HPP

#include <leash.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
#define LEASH_EXCEPTIONS 1
#else
#define LEASH_EXCEPTIONS 0
#endif

// __cplusplus first: an older standard must not see <expected> by accident.
#if __cplusplus > 202002L && defined(__has_include)
#if __has_include(<expected>)
#include <expected>
#endif
#endif
#if defined(__cpp_lib_expected)
#define LEASH_EXPECTED 1
#else
#define LEASH_EXPECTED 0
#endif

// Qt makes a macro of this word, unless QT_NO_KEYWORDS is defined.
#pragma push_macro("forever")
#undef forever

namespace leash {

// Files of one program may be compiled for different standards: what they call `result` is then not
// the same type, and must not have the same name for the linker.
#if LEASH_EXPECTED
inline namespace with_expected {
#else
inline namespace without_expected {
#endif

/// What failed. Values may be added: keep a default case.
enum class code : int {
  ok = LEASH_OK,
  invalid = LEASH_E_INVALID,
  unsupported = LEASH_E_UNSUPPORTED,
  connect = LEASH_E_CONNECT,
  timeout = LEASH_E_TIMEOUT,
  cancelled = LEASH_E_CANCELLED,
  closed = LEASH_E_CLOSED,
  rpc = LEASH_E_RPC,
  protocol = LEASH_E_PROTOCOL,
  too_big = LEASH_E_TOO_BIG,
  full = LEASH_E_FULL,
  interrupted = LEASH_E_INTERRUPTED,
  state = LEASH_E_STATE,
  forked = LEASH_E_FORKED,
  internal = LEASH_E_INTERNAL,
  no_memory = LEASH_E_NO_MEMORY,
  left = LEASH_E_LEFT,
};

enum class protocol : int {
  jsonrpc = LEASH_PROTOCOL_JSONRPC,
  mcp = LEASH_PROTOCOL_MCP,
  acp = LEASH_PROTOCOL_ACP,
  lsp = LEASH_PROTOCOL_LSP,
  bare = LEASH_PROTOCOL_BARE,
};

enum class kind : int {
  none = 0,
  open = LEASH_EVENT_OPEN,
  response = LEASH_EVENT_RESPONSE,
  notify = LEASH_EVENT_NOTIFY,
  request = LEASH_EVENT_REQUEST,
  stderr_line = LEASH_EVENT_STDERR,
  noise = LEASH_EVENT_NOISE,
  closed = LEASH_EVENT_CLOSED,
};

enum class stage : int {
  exited = LEASH_STAGE_EXITED,
  term = LEASH_STAGE_TERM,
  kill = LEASH_STAGE_KILL,
};

/// What becomes of the server's stderr.
enum class stderr_mode : int { discard = 0, events = 1, inherit = 2 };

using milliseconds = std::chrono::milliseconds;

/// No limit.
inline constexpr milliseconds forever = milliseconds::max();

/// A failure: thrown, or in a result.
class error : public std::exception {
 public:
  error(leash::code code, std::string text, int os_error = 0)
      : code_(code),
        os_error_(os_error),
        text_(std::make_shared<const std::string>(std::move(text))) {}

  /// The calling thread's most recent failure.
  static error last(int status) {
    return error(static_cast<leash::code>(status), leash_last_error(), leash_last_os_error());
  }

  /// The error that a peer answered with.
  static error rpc(std::optional<std::int64_t> rpc_code, std::string_view message,
                   std::string_view data) {
    error e(leash::code::rpc, std::string(message));
    e.rpc_code_ = rpc_code;
    if (data.data()) e.data_ = std::make_shared<const std::string>(data);
    return e;
  }

  leash::code code() const noexcept { return code_; }
  const char *what() const noexcept override { return text_->c_str(); }
  const std::string &text() const noexcept { return *text_; }
  /// errno behind it, or 0.
  int os_error() const noexcept { return os_error_; }
  /// Of code::rpc: the peer's error code and the JSON of its data, if it gave any.
  std::optional<std::int64_t> rpc_code() const noexcept { return rpc_code_; }
  const std::string *data() const noexcept { return data_.get(); }

 private:
  leash::code code_;
  int os_error_;
  std::optional<std::int64_t> rpc_code_;
  // Copying an exception must not throw.
  std::shared_ptr<const std::string> text_;
  std::shared_ptr<const std::string> data_;
};

#if LEASH_EXPECTED
template <class T>
using result = std::expected<T, error>;

namespace detail {
inline std::unexpected<error> fail(error e) {
  return std::unexpected<error>(std::move(e));
}
}  // namespace detail
#else
namespace detail {
struct failed {
  leash::error error;
};
inline failed fail(error e) {
  return failed{std::move(e)};
}
}  // namespace detail

/// A value or an error: the part of std::expected that is needed here.
template <class T>
class [[nodiscard]] result {
  using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

 public:
  using value_type = T;
  using error_type = leash::error;

  template <class V = T, class = std::enable_if_t<std::is_void_v<V>>>
  result() : state_(std::in_place_index<0>) {}
  template <class U = Stored,
            class = std::enable_if_t<!std::is_void_v<T> && std::is_constructible_v<Stored, U &&> &&
                                     !std::is_same_v<std::decay_t<U>, result> &&
                                     !std::is_same_v<std::decay_t<U>, detail::failed>>>
  result(U &&value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}
  result(detail::failed f) : state_(std::in_place_index<1>, std::move(f.error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  /// Only of a result that has it.
  const leash::error &error() const & { return *std::get_if<1>(&state_); }
  leash::error &&error() && { return std::move(*std::get_if<1>(&state_)); }

  /// Only of a result that has it. For T = void nothing is given back.
  template <class V = T>
  std::enable_if_t<!std::is_void_v<V>, V &> operator*() & {
    return *std::get_if<0>(&state_);
  }
  template <class V = T>
  std::enable_if_t<!std::is_void_v<V>, const V &> operator*() const & {
    return *std::get_if<0>(&state_);
  }
  template <class V = T>
  std::enable_if_t<!std::is_void_v<V>, V &&> operator*() && {
    return std::move(*std::get_if<0>(&state_));
  }
  template <class V = T>
  std::enable_if_t<!std::is_void_v<V>, V *> operator->() {
    return std::get_if<0>(&state_);
  }
  template <class V = T>
  std::enable_if_t<!std::is_void_v<V>, const V *> operator->() const {
    return std::get_if<0>(&state_);
  }

 private:
  std::variant<Stored, leash::error> state_;
};
#endif

namespace detail {

#if LEASH_EXCEPTIONS
/// The value, or throw.
template <class T>
T unwrap(result<T> &&r) {
  if (!r) throw std::move(r).error();
  if constexpr (!std::is_void_v<T>) return *std::move(r);
}
#endif

/// For the library, rounded up: -1 is no limit, and what has passed is 0.
template <class Rep, class Period>
std::int64_t limit(std::chrono::duration<Rep, Period> time) {
  if (time >= std::chrono::duration<double>(9e15)) return -1;
  if (time <= time.zero()) return 0;
  return std::chrono::ceil<milliseconds>(time).count();
}

/// NUL-terminated text of a view. A NUL inside would cut it short unseen.
class c_text {
 public:
  explicit c_text(std::string_view text) : text_(text) {}
  bool is_cut() const { return text_.find('\0') != std::string::npos; }
  const char *get() const { return text_.c_str(); }

 private:
  std::string text_;
};

inline error cut() {
  return error(code::invalid, "the text contains a NUL");
}

inline std::optional<std::int64_t> present(std::int64_t number) {
  return number == LEASH_NONE ? std::nullopt : std::optional<std::int64_t>(number);
}

/// NULL and a length of 0 for a view of nothing.
inline std::size_t length(std::string_view json) {
  return json.data() ? json.size() : 0;
}

struct free_event {
  void operator()(leash_event *e) const noexcept { leash_event_free(e); }
};
struct free_conn {
  void operator()(leash_conn *c) const noexcept { leash_free(c); }
};
struct free_opts {
  void operator()(leash_opts *o) const noexcept { leash_opts_free(o); }
};

}  // namespace detail

/// A program and its arguments, copied: {"a", "b"}, a vector or span of strings, argc and argv.
class arguments {
 public:
  arguments(std::initializer_list<std::string_view> list) : items_(list.begin(), list.end()) {}
  template <class Range, class Item = decltype(*std::begin(std::declval<const Range &>())),
            class = std::enable_if_t<std::is_convertible_v<Item, std::string_view> &&
                                     !std::is_convertible_v<const Range &, std::string_view>>>
  arguments(const Range &range) {
    for (std::string_view item : range) items_.emplace_back(item);
  }
  arguments(int argc, const char *const *argv) : items_(argv, argv + argc) {}

  const std::vector<std::string> &items() const noexcept { return items_; }

  /// NULL-terminated, for C; lives as long as this and is unchanged.
  std::vector<const char *> c_argv() const & {
    std::vector<const char *> list;
    list.reserve(items_.size() + 1);
    for (const std::string &item : items_) list.push_back(item.c_str());
    list.push_back(nullptr);
    return list;
  }
  std::vector<const char *> c_argv() const && = delete;

 private:
  std::vector<std::string> items_;
};

/// Settings for one connection. A setter that fails is told by the opening, not here:
/// leash::options().protocol(leash::protocol::mcp).cwd("/tmp").env("NAME", "value")
class options {
 public:
  options() : opts_(leash_opts_new()) {
    if (!opts_) error_ = error(code::no_memory, leash_last_error());
  }

  options &url(std::string_view v) & { return text(LEASH_OPT_URL, v); }
  options &bearer(std::string_view v) & { return text(LEASH_OPT_BEARER, v); }
  options &ca_file(std::string_view v) & { return text(LEASH_OPT_CA_FILE, v); }
  options &cert_file(std::string_view v) & { return text(LEASH_OPT_CERT_FILE, v); }
  options &key_file(std::string_view v) & { return text(LEASH_OPT_KEY_FILE, v); }
  options &cwd(std::string_view v) & { return text(LEASH_OPT_CWD, v); }
  /// Over the inherited environment; once for each variable.
  options &env(std::string_view name, std::string_view value) & {
    if (!is_name(name, '=')) return keep(misnamed());
    return add(LEASH_OPT_ENV, env_, joined(name, "=", value));
  }
  options &env_remove(std::string_view name) & {
    if (!is_name(name, '=')) return keep(misnamed());
    return add(LEASH_OPT_ENV, env_, std::string(name));
  }
  options &env_clear(bool v = true) & { return number(LEASH_OPT_ENV_CLEAR, v); }
  /// Once for each header.
  options &header(std::string_view name, std::string_view value) & {
    if (!is_name(name, ':')) return keep(misnamed());
    return add(LEASH_OPT_HEADERS, headers_, joined(name, ": ", value));
  }
  options &protocol(leash::protocol v) & { return number(LEASH_OPT_PROTOCOL, static_cast<int>(v)); }
  options &stderr_to(stderr_mode v) & { return number(LEASH_OPT_STDERR, static_cast<int>(v)); }
  options &max_message(std::int64_t bytes) & { return number(LEASH_OPT_MAX_MESSAGE, bytes); }
  options &queue_events(std::int64_t events) & { return number(LEASH_OPT_QUEUE_EVENTS, events); }
  options &queue_bytes(std::int64_t bytes) & { return number(LEASH_OPT_QUEUE_BYTES, bytes); }
  options &send_bytes(std::int64_t bytes) & { return number(LEASH_OPT_SEND_BYTES, bytes); }
  options &exit_after(milliseconds v) & { return number(LEASH_OPT_EXIT_AFTER, v.count()); }
  options &kill_after(milliseconds v) & { return number(LEASH_OPT_KILL_AFTER, v.count()); }
  options &ping_every(milliseconds v) & { return number(LEASH_OPT_PING_EVERY, v.count()); }
  options &cork(bool v = true) & { return number(LEASH_OPT_CORK, v); }

  options &&url(std::string_view v) && { return std::move(url(v)); }
  options &&bearer(std::string_view v) && { return std::move(bearer(v)); }
  options &&ca_file(std::string_view v) && { return std::move(ca_file(v)); }
  options &&cert_file(std::string_view v) && { return std::move(cert_file(v)); }
  options &&key_file(std::string_view v) && { return std::move(key_file(v)); }
  options &&cwd(std::string_view v) && { return std::move(cwd(v)); }
  options &&env(std::string_view n, std::string_view v) && { return std::move(env(n, v)); }
  options &&env_remove(std::string_view n) && { return std::move(env_remove(n)); }
  options &&env_clear(bool v = true) && { return std::move(env_clear(v)); }
  options &&header(std::string_view n, std::string_view v) && { return std::move(header(n, v)); }
  options &&protocol(leash::protocol v) && { return std::move(protocol(v)); }
  options &&stderr_to(stderr_mode v) && { return std::move(stderr_to(v)); }
  options &&max_message(std::int64_t v) && { return std::move(max_message(v)); }
  options &&queue_events(std::int64_t v) && { return std::move(queue_events(v)); }
  options &&queue_bytes(std::int64_t v) && { return std::move(queue_bytes(v)); }
  options &&send_bytes(std::int64_t v) && { return std::move(send_bytes(v)); }
  options &&exit_after(milliseconds v) && { return std::move(exit_after(v)); }
  options &&kill_after(milliseconds v) && { return std::move(kill_after(v)); }
  options &&ping_every(milliseconds v) && { return std::move(ping_every(v)); }
  options &&cork(bool v = true) && { return std::move(cork(v)); }

  /// What a setter refused, if one did.
  const std::optional<leash::error> &failure() const noexcept { return error_; }
  const leash_opts *get() const noexcept { return opts_.get(); }

 private:
  options &text(int key, std::string_view value) {
    detail::c_text copy(value);
    if (copy.is_cut()) return keep(detail::cut());
    return check(leash_opts_set_str(opts_.get(), key, copy.get()));
  }
  options &number(int key, std::int64_t value) {
    return check(leash_opts_set_int(opts_.get(), key, value));
  }
  options &add(int key, std::vector<std::string> &list, std::string item) {
    if (item.find('\0') != std::string::npos) return keep(detail::cut());
    list.push_back(std::move(item));
    std::vector<const char *> items;
    for (const std::string &each : list) items.push_back(each.c_str());
    return check(leash_opts_set_list(opts_.get(), key, items.data(), items.size()));
  }
  options &check(int status) { return status < 0 ? keep(leash::error::last(status)) : *this; }
  options &keep(leash::error e) {
    if (!error_) error_ = std::move(e);
    return *this;
  }
  static bool is_name(std::string_view name, char separator) {
    return !name.empty() && name.find(separator) == std::string_view::npos;
  }
  static leash::error misnamed() {
    return leash::error(code::invalid, "the name of a variable or header is empty or not one");
  }
  static std::string joined(std::string_view a, std::string_view between, std::string_view b) {
    std::string all(a);
    return all.append(between).append(b);
  }

  std::unique_ptr<leash_opts, detail::free_opts> opts_;
  std::vector<std::string> env_, headers_;
  std::optional<leash::error> error_;
};

/// One thing that arrived. Move-only. A request that is destroyed without an answer is refused.
class event {
 public:
  event() = default;
  explicit event(leash_event *e) noexcept : e_(e) {}

  leash::kind kind() const noexcept { return static_cast<leash::kind>(leash_event_kind(e_.get())); }
  explicit operator bool() const noexcept { return e_ != nullptr; }

  /// Views into the event; empty with data() == nullptr when absent.
  std::string_view method() const &noexcept { return str(LEASH_STR_METHOD); }
  std::string_view json() const &noexcept { return str(LEASH_STR_JSON); }
  std::string_view text() const &noexcept { return str(LEASH_STR_TEXT); }
  std::string_view peer_id() const &noexcept { return str(LEASH_STR_PEER_ID); }
  std::string_view str(int field) const &noexcept {
    std::size_t length = 0;
    const char *text = leash_event_str(e_.get(), field, &length);
    return text ? std::string_view(text, length) : std::string_view();
  }
  // They would dangle.
  std::string_view method() const && = delete;
  std::string_view json() const && = delete;
  std::string_view text() const && = delete;
  std::string_view peer_id() const && = delete;
  std::string_view str(int field) const && = delete;

  std::optional<std::int64_t> integer(int field) const noexcept {
    return detail::present(leash_event_int(e_.get(), field));
  }
  std::int64_t seq() const noexcept { return leash_event_int(e_.get(), LEASH_INT_SEQ); }
  /// How a call or the connection ended.
  code status() const noexcept { return static_cast<code>(integer(LEASH_INT_STATUS).value_or(0)); }
  std::optional<std::int64_t> call() const noexcept { return integer(LEASH_INT_CALL); }
  std::optional<std::int64_t> tag() const noexcept { return integer(LEASH_INT_TAG); }
  std::optional<std::int64_t> rpc_code() const noexcept { return integer(LEASH_INT_RPC_CODE); }
  std::optional<std::int64_t> exit_code() const noexcept { return integer(LEASH_INT_EXIT_CODE); }
  std::optional<std::int64_t> exit_signal() const noexcept {
    return integer(LEASH_INT_EXIT_SIGNAL);
  }
  std::optional<std::int64_t> dropped() const noexcept { return integer(LEASH_INT_DROPPED); }
  std::optional<std::int64_t> killed() const noexcept { return integer(LEASH_INT_KILLED); }
  std::optional<std::int64_t> left() const noexcept { return integer(LEASH_INT_LEFT); }
  std::optional<std::int64_t> discarded() const noexcept { return integer(LEASH_INT_DISCARDED); }
  std::optional<std::int64_t> close_code() const noexcept { return integer(LEASH_INT_CLOSE_CODE); }
  /// errno behind the end of the connection.
  std::optional<std::int64_t> os_error() const noexcept { return integer(LEASH_INT_OS_ERROR); }
  std::optional<leash::stage> stage() const noexcept {
    auto number = integer(LEASH_INT_STAGE);
    return number ? std::optional(static_cast<leash::stage>(*number)) : std::nullopt;
  }

  /// A response's error, or why the connection ended; of code::ok when there is none.
  leash::error failure() const {
    if (status() == code::rpc) return leash::error::rpc(rpc_code(), text(), json());
    return leash::error(status(), std::string(text()), static_cast<int>(os_error().value_or(0)));
  }

  /// Answer a request; a view of nothing sends null.
  result<void> try_reply(std::string_view json) const {
    return check(leash_reply(e_.get(), json.data(), detail::length(json)));
  }
  result<void> try_reply_error(std::int64_t rpc_code, std::string_view message,
                               std::string_view data = {}) const {
    detail::c_text copy(message);
    if (copy.is_cut()) return detail::fail(detail::cut());
    return check(
        leash_reply_error(e_.get(), rpc_code, copy.get(), data.data(), detail::length(data)));
  }
#if LEASH_EXCEPTIONS
  void reply(std::string_view json) const {
    detail::unwrap(try_reply(json));
  }
  void reply_error(std::int64_t rpc_code, std::string_view message,
                   std::string_view data = {}) const {
    detail::unwrap(try_reply_error(rpc_code, message, data));
  }
#endif

  leash_event *get() const noexcept {
    return e_.get();
  }

 private:
  static result<void> check(int status) {
    if (status < 0) return detail::fail(leash::error::last(status));
    return {};
  }
  std::unique_ptr<leash_event, detail::free_event> e_;
};

class event_range;

/// One connection. Move-only; its end waits until nothing of the server is left.
class connection {
 public:
  using id = std::int64_t;

  connection() = default;

  /// Start a server and wait until it runs.
  static result<connection> try_open(const arguments &argv, const options &opts = {},
                                     milliseconds timeout = milliseconds(10000)) {
    for (const std::string &item : argv.items()) {
      if (item.find('\0') != std::string::npos) return detail::fail(detail::cut());
    }
    std::vector<const char *> list = argv.c_argv();
    return made(opts, [&](leash_conn **out) {
      return leash_connect(list.data(), opts.get(), detail::limit(timeout), out);
    });
  }

  /// Dial the URL of the options.
  static result<connection> try_dial(const options &opts,
                                     milliseconds timeout = milliseconds(10000)) {
    return made(opts, [&](leash_conn **out) {
      return leash_connect(nullptr, opts.get(), detail::limit(timeout), out);
    });
  }

  /// Connect to the environment `id` of a codex environments.toml; empty is the file's default.
  /// `forever` means the file's connect_timeout_sec.
  static result<connection> try_open_environment(std::string_view path, std::string_view id = {},
                                                 const options &opts = {},
                                                 milliseconds timeout = forever) {
    detail::c_text file(path), name(id);
    if (file.is_cut() || name.is_cut()) return detail::fail(detail::cut());
    return made(opts, [&](leash_conn **out) {
      return leash_connect_env(path.empty() ? nullptr : file.get(),
                               id.empty() ? nullptr : name.get(), opts.get(),
                               detail::limit(timeout), out);
    });
  }

  /// Call a method and wait. params is JSON, or nothing. An error of the peer is code::rpc.
  template <class Rep = std::int64_t, class Period = std::milli>
  result<event> try_call(std::string_view method, std::string_view params = {},
                         std::chrono::duration<Rep, Period> timeout = milliseconds(30000)) {
    detail::c_text name(method);
    if (name.is_cut()) return detail::fail(detail::cut());
    leash_event *out = nullptr;
    int status = leash_call(get(), name.get(), params.data(), detail::length(params),
                            detail::limit(timeout), &out);
    event answer(out);
    if (status == LEASH_E_RPC && out) return detail::fail(answer.failure());
    if (status < 0) return detail::fail(error::last(status));
    return answer;
  }

  /// Send a request without waiting; its response comes by poll, or by wait.
  template <class Rep = std::int64_t, class Period = std::milli>
  result<id> try_submit(std::string_view method, std::string_view params = {},
                        std::chrono::duration<Rep, Period> timeout = milliseconds(30000),
                        std::int64_t tag = 0) {
    detail::c_text name(method);
    if (name.is_cut()) return detail::fail(detail::cut());
    id call = 0;
    int status = leash_submit(get(), name.get(), params.data(), detail::length(params),
                              detail::limit(timeout), tag, &call);
    if (status < 0) return detail::fail(error::last(status));
    return call;
  }

  /// The response of a submitted call; nullopt when the time passes and the call goes on.
  template <class Rep = std::int64_t, class Period = std::milli>
  result<std::optional<event>> try_wait(id call,
                                        std::chrono::duration<Rep, Period> timeout = forever) {
    return taken(
        [&](leash_event **out) { return leash_wait(get(), call, detail::limit(timeout), out); });
  }

  /// The next event; nullopt when the time passes. code::closed: the last one was taken.
  template <class Rep = std::int64_t, class Period = std::milli>
  result<std::optional<event>> try_poll(std::chrono::duration<Rep, Period> timeout = forever) {
    return taken([&](leash_event **out) { return leash_poll(get(), detail::limit(timeout), out); });
  }

  result<void> try_notify(std::string_view method, std::string_view params = {}) {
    detail::c_text name(method);
    if (name.is_cut()) return detail::fail(detail::cut());
    return check(leash_notify(get(), name.get(), params.data(), detail::length(params)));
  }
  result<void> try_cancel(id call) { return check(leash_cancel(get(), call)); }
  result<void> try_flush() { return check(leash_flush(get())); }
  result<void> try_wake() { return check(leash_wake(get())); }
  result<int> try_fd() const {
    int fd = leash_fd(get());
    if (fd < 0) return detail::fail(error::last(fd));
    return fd;
  }

  /// Tear down and wait until nothing is left.
  template <class Rep = std::int64_t, class Period = std::milli>
  result<void> try_close(std::chrono::duration<Rep, Period> timeout = forever) {
    return check(leash_close(get(), detail::limit(timeout)));
  }

#if LEASH_EXCEPTIONS
  static connection open(const arguments &argv, const options &opts = {},
                         milliseconds timeout = milliseconds(10000)) {
    return detail::unwrap(try_open(argv, opts, timeout));
  }
  static connection dial(const options &opts, milliseconds timeout = milliseconds(10000)) {
    return detail::unwrap(try_dial(opts, timeout));
  }
  static connection open_environment(std::string_view path, std::string_view id = {},
                                     const options &opts = {}, milliseconds timeout = forever) {
    return detail::unwrap(try_open_environment(path, id, opts, timeout));
  }
  template <class Rep = std::int64_t, class Period = std::milli>
  event call(std::string_view method, std::string_view params = {},
             std::chrono::duration<Rep, Period> timeout = milliseconds(30000)) {
    return detail::unwrap(try_call(method, params, timeout));
  }
  template <class Rep = std::int64_t, class Period = std::milli>
  id submit(std::string_view method, std::string_view params = {},
            std::chrono::duration<Rep, Period> timeout = milliseconds(30000),
            std::int64_t tag = 0) {
    return detail::unwrap(try_submit(method, params, timeout, tag));
  }
  template <class Rep = std::int64_t, class Period = std::milli>
  std::optional<event> wait(id call, std::chrono::duration<Rep, Period> timeout = forever) {
    return detail::unwrap(try_wait(call, timeout));
  }
  template <class Rep = std::int64_t, class Period = std::milli>
  std::optional<event> poll(std::chrono::duration<Rep, Period> timeout = forever) {
    return detail::unwrap(try_poll(timeout));
  }
  void notify(std::string_view method, std::string_view params = {}) {
    detail::unwrap(try_notify(method, params));
  }
  void cancel(id call) {
    detail::unwrap(try_cancel(call));
  }
  void flush() {
    detail::unwrap(try_flush());
  }
  void wake() {
    detail::unwrap(try_wake());
  }
  int fd() const {
    return detail::unwrap(try_fd());
  }
  template <class Rep = std::int64_t, class Period = std::milli>
  void close(std::chrono::duration<Rep, Period> timeout = forever) {
    detail::unwrap(try_close(timeout));
  }
#endif

  /// for (leash::event &e : c.events()): until the last one, or until none comes for that long.
  event_range events(milliseconds timeout = forever);

  std::optional<std::int64_t> pid() const noexcept {
    return integer(LEASH_INT_PID);
  }
  std::optional<std::int64_t> queued() const noexcept {
    return integer(LEASH_INT_QUEUED);
  }
  std::optional<std::int64_t> pending() const noexcept {
    return integer(LEASH_INT_PENDING);
  }
  std::optional<std::int64_t> integer(int field) const noexcept {
    return detail::present(leash_conn_int(get(), field));
  }

  explicit operator bool() const noexcept {
    return c_ != nullptr;
  }
  leash_conn *get() const noexcept {
    return c_.get();
  }

 private:
  explicit connection(leash_conn *c) noexcept : c_(c) {}

  template <class Connect>
  static result<connection> made(const options &opts, Connect connect) {
    if (opts.failure()) return detail::fail(*opts.failure());
    leash_conn *out = nullptr;
    int status = connect(&out);
    if (status < 0) return detail::fail(error::last(status));
    return connection(out);
  }
  template <class Take>
  static result<std::optional<event>> taken(Take take) {
    leash_event *out = nullptr;
    int status = take(&out);
    if (status < 0) return detail::fail(error::last(status));
    return status == 0 ? std::optional<event>() : std::optional<event>(event(out));
  }
  static result<void> check(int status) {
    if (status < 0) return detail::fail(error::last(status));
    return {};
  }

  std::unique_ptr<leash_conn, detail::free_conn> c_;
};

/// Events as they come. The connection must outlive it, at the same place.
class event_range {
 public:
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = event;
    using difference_type = std::ptrdiff_t;
    using pointer = event *;
    using reference = event &;

    reference operator*() const { return *range_->current_; }
    pointer operator->() const { return &*range_->current_; }
    iterator &operator++() {
      if (!range_->next()) range_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator &a, const iterator &b) { return a.range_ == b.range_; }
    friend bool operator!=(const iterator &a, const iterator &b) { return a.range_ != b.range_; }

   private:
    friend class event_range;
    explicit iterator(event_range *range) : range_(range) {}
    event_range *range_;
  };

  event_range(connection &c, milliseconds timeout) : connection_(&c), timeout_(timeout) {}

  iterator begin() { return iterator(next() ? this : nullptr); }
  iterator end() { return iterator(nullptr); }

  /// Why it ended, unless by the last event or by the time; with exceptions, that was thrown.
  const std::optional<error> &failure() const noexcept { return error_; }

 private:
  bool next() {
    // An unanswered request is refused now, not when the next event comes.
    current_.reset();
    auto taken = connection_->try_poll(timeout_);
    if (taken) {
      current_ = std::move(*taken);
      return current_.has_value();
    }
    if (taken.error().code() == code::closed) return false;
    error_ = std::move(taken).error();
#if LEASH_EXCEPTIONS
    throw *error_;
#else
    return false;
#endif
  }

  connection *connection_;
  milliseconds timeout_;
  std::optional<event> current_;
  std::optional<error> error_;
};

inline event_range connection::events(milliseconds timeout) {
  return event_range(*this, timeout);
}

/// What a codex environments.toml holds, as the JSON of leash_env_list; without a path, what
/// CODEX_EXEC_SERVER_URL names. Connects to nothing.
inline result<std::string> try_environments(std::string_view path = {}) {
  detail::c_text file(path);
  if (file.is_cut()) return detail::fail(detail::cut());
  std::string list(1024, '\0');
  for (;;) {
    std::size_t length = 0;
    int status =
        leash_env_list(path.empty() ? nullptr : file.get(), &list[0], list.size(), &length);
    // The file may grow between two looks at it.
    bool is_short = status == LEASH_E_TOO_BIG && length >= list.size();
    if (status < 0 && !is_short) return detail::fail(error::last(status));
    list.resize(is_short ? length + 1 : length);
    if (!is_short) return list;
  }
}
#if LEASH_EXCEPTIONS
inline std::string environments(std::string_view path = {}) {
  return detail::unwrap(try_environments(path));
}
#endif

/// Version of the library in use.
inline std::string_view version() noexcept {
  return leash_version(nullptr, nullptr);
}

}  // inline namespace
}  // namespace leash

// With nlohmann/json: values instead of texts. LEASH_NO_NLOHMANN leaves this out.
#if !defined(LEASH_NO_NLOHMANN) && defined(__has_include)
#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>

namespace leash {
#if LEASH_EXPECTED
inline namespace with_expected {
#else
inline namespace without_expected {
#endif

/// The params, result or error data of an event. code::protocol: the peer's payload is not JSON.
inline result<nlohmann::json> try_parse(const event &e) {
  std::string_view text = e.json();
  nlohmann::json value =
      text.data() ? nlohmann::json::parse(text, nullptr, false) : nlohmann::json();
  if (value.is_discarded())
    return detail::fail(error(code::protocol, "the peer's payload is not JSON"));
  return value;
}

/// connection::try_call with values.
inline result<nlohmann::json> try_call(connection &c, std::string_view method,
                                       const nlohmann::json &params,
                                       milliseconds timeout = milliseconds(30000)) {
  auto answer = c.try_call(
      method, params.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), timeout);
  if (!answer) return detail::fail(std::move(answer).error());
  return try_parse(*answer);
}

#if LEASH_EXCEPTIONS
inline nlohmann::json parse(const event &e) {
  return detail::unwrap(try_parse(e));
}
inline nlohmann::json call(connection &c, std::string_view method, const nlohmann::json &params,
                           milliseconds timeout = milliseconds(30000)) {
  return detail::unwrap(try_call(c, method, params, timeout));
}
#endif

}  // inline namespace
}  // namespace leash
#endif
#endif

#pragma pop_macro("forever")

#endif  // LEASH_HPP
