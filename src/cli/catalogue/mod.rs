//! Which messages there are, and which of them a method takes and returns.
//!
//! Descriptors come from a gateway's configuration, from files or from the demo,
//! and are gathered here under the client's names of methods. The command line says
//! where to look: see `source`.

mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::app::{Problem, Reflection, Resolver};
use crate::config::{Config, Judge, NoneConfig};
use crate::proto::demo;
use crate::protocol::seed::methods::{KEEP_ALIVE, SET_CXN_PARAMS, SET_USER_PARAMS};
use crate::routing::suggest::closest;
use crate::routing::{DescriptorError, Descriptors};
pub(super) use source::Source;

/// The methods of the demo's gateway.
const DEMO: [(&str, &str); 3] = [
    ("/v1/user/white/login", "pb.userService/Login"),
    ("/v1/relation/getFriendList", "pb.relationService/GetFriendList"),
    ("/v1/msg/sendMsgList", "pb.msgService/SendMsgListAsync"),
];

/// Methods that clients call when they open a session and log in.
const STEPS: [&str; 2] = [SET_CXN_PARAMS, SET_USER_PARAMS];

/// The methods that are known.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    methods: BTreeMap<String, Messages>,
    /// Methods of which only the name is known, and why.
    pending: BTreeMap<String, String>,
    /// Descriptors named beside the methods, if any.
    files: Option<Descriptors>,
    /// Nothing but the demo's, since there is no configuration.
    is_demo_only: bool,
}

/// The messages that a method takes and returns.
#[derive(Debug, Clone)]
pub(super) struct Messages {
    pub(super) request: MessageDescriptor,
    pub(super) response: MessageDescriptor,
}

/// Descriptors that cannot be used, or lack the method or message.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogueError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    /// A set is invalid, or lacks an RPC.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// The method is configured, but its upstream does not describe its messages.
    #[error("`{method}` is configured, but not known: {reason}")]
    Pending { method: String, reason: String },
    /// No route has this name.
    #[error("`{method}` is not known{hint}")]
    Unknown { method: String, hint: String, is_demo_only: bool },
    /// A method that clients call by themselves when they open a session.
    #[error("`{method}` is a step of the session protocol that this command takes by itself")]
    Step { method: &'static str },
    /// No descriptor has this message.
    #[error("no message `{message}` is known{hint}")]
    UnknownMessage { message: String, hint: String },
}

impl Catalogue {
    /// The demo's methods.
    pub(super) fn demo() -> Result<Self, CatalogueError> {
        let mut catalogue = Self {
            files: Some(Descriptors::from_sets([demo::FILE_DESCRIPTOR_SET])?),
            ..Self::default()
        };
        for (method, rpc) in DEMO {
            catalogue.add(method, rpc)?;
        }
        Ok(catalogue)
    }

    /// No methods yet, but descriptors to add them from: files that hold
    /// serialized `FileDescriptorSet`s.
    pub(super) fn from_files(files: &[PathBuf]) -> Result<Self, CatalogueError> {
        let read = |path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| CatalogueError::Unreadable { path: path.clone(), error })
        };
        let sets: Vec<_> = files.iter().map(read).collect::<Result<_, _>>()?;
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let sets = names.iter().map(String::as_str).zip(sets.iter().map(Vec::as_slice));
        let descriptors = Descriptors::from_named_sets(sets)?;
        Ok(Self { files: Some(descriptors), ..Self::default() })
    }

    /// The methods of a gateway. Its upstreams are asked for their descriptors
    /// where the configuration says so; other errors in it are not reported, since
    /// the gateway may have another environment and other files.
    pub(super) async fn of_gateway(config: &Config) -> Self {
        // The login settings make no difference here, and take time to resolve.
        let mut config = config.clone();
        config.auth.judge = Judge::None(NoneConfig { insecure: true });
        let resolved = Resolver::new(1).resolve(&config, Reflection::Ask).await;
        let table = resolved.services.calls.routes;
        let messages = |(request, response): (&MessageDescriptor, &MessageDescriptor)| Messages {
            request: request.clone(),
            response: response.clone(),
        };
        let methods: BTreeMap<_, _> = table
            .routes()
            .map(|route| (route.name.to_string(), messages((&route.input, &route.output))))
            .collect();
        let mut pending: BTreeMap<_, _> =
            table.pending().map(|(name, reason)| (name.to_owned(), reason.to_owned())).collect();
        for problem in &resolved.problems {
            for name in routes_with(problem, &config).filter(|name| !methods.contains_key(*name)) {
                pending.entry(name.to_owned()).or_insert_with(|| problem.message.clone());
            }
        }
        Self { methods, pending, ..Self::default() }
    }

    /// Adds the entries of another one that are missing here.
    pub(super) fn or(mut self, other: Self) -> Self {
        for (method, messages) in other.methods {
            self.pending.remove(&method);
            self.methods.entry(method).or_insert(messages);
        }
        self
    }

    /// Makes a method known that leads to `rpc`, a `package.Service/Method` of
    /// the files.
    pub(super) fn add(&mut self, method: &str, rpc: &str) -> Result<(), CatalogueError> {
        let rpc = self.files.as_ref().unwrap_or(&Descriptors::default()).method(rpc)?;
        let messages = Messages { request: rpc.input(), response: rpc.output() };
        self.methods.insert(method.to_owned(), messages);
        Ok(())
    }

    /// The messages of a method, by the client's name: a route, or
    /// `/package.Service/Method` of a service that is exposed.
    pub(super) fn messages_for(&self, method: &str) -> Result<Messages, CatalogueError> {
        if let Some(messages) = self.methods.get(method) {
            return Ok(messages.clone());
        }
        if method == KEEP_ALIVE
            && let Some(empty) =
                DescriptorPool::global().get_message_by_name("google.protobuf.Empty")
        {
            return Ok(Messages { request: empty.clone(), response: empty });
        }
        if let Some(method) = STEPS.into_iter().find(|step| *step == method) {
            return Err(CatalogueError::Step { method });
        }
        let service = method.rfind('/').and_then(|slash| method.get(..=slash)).unwrap_or_default();
        if let Some(reason) = self.pending.get(method).or_else(|| self.pending.get(service)) {
            let (method, reason) = (method.to_owned(), reason.clone());
            return Err(CatalogueError::Pending { method, reason });
        }
        let exposed = method.strip_prefix('/').zip(self.files.as_ref());
        if let Some(rpc) = exposed.and_then(|(rpc, files)| files.method(rpc).ok()) {
            return Ok(Messages { request: rpc.input(), response: rpc.output() });
        }
        let known = self.methods.keys().chain(self.pending.keys()).map(String::as_str);
        let hint = match closest(method, known) {
            Some(nearest) => format!("; did you mean `{nearest}`?"),
            None => String::new(),
        };
        let (method, is_demo_only) = (method.to_owned(), self.is_demo_only);
        Err(CatalogueError::Unknown { method, hint, is_demo_only })
    }

    /// The message with this full name, wherever it is described.
    pub(super) fn message(&self, full_name: &str) -> Result<MessageDescriptor, CatalogueError> {
        if let Some(message) = self.pools().find_map(|pool| pool.get_message_by_name(full_name)) {
            return Ok(message);
        }
        let known: Vec<_> = self.pools().flat_map(DescriptorPool::all_messages).collect();
        let hint = match closest(full_name, known.iter().map(MessageDescriptor::full_name)) {
            Some(nearest) => format!("; did you mean `{nearest}`?"),
            None => match self.pending.values().next() {
                Some(reason) => format!(" (not everything is described: {reason})"),
                None => String::new(),
            },
        };
        Err(CatalogueError::UnknownMessage { message: full_name.to_owned(), hint })
    }

    fn pools(&self) -> impl Iterator<Item = &DescriptorPool> {
        let files = self.files.iter().flat_map(Descriptors::pools);
        files.chain(self.methods.values().map(|messages| messages.request.parent_pool()))
    }
}

/// The routes that a problem concerns: one, or all of an upstream, such as one
/// that does not offer reflection.
fn routes_with<'c>(problem: &Problem, config: &'c Config) -> impl Iterator<Item = &'c str> {
    let mut path = problem.path().into_iter();
    let upstream = path.next().filter(|section| *section == "upstreams").and(path.next());
    let one = path.next().filter(|key| *key == "routes").and(path.next()).map(str::to_owned);
    let routes = upstream.and_then(|name| config.upstreams.get(name)).map(|it| it.routes.keys());
    let routes = routes.into_iter().flatten().map(|name| &**name);
    routes.filter(move |name| one.as_deref().is_none_or(|one| one == *name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn request_of(catalogue: &Catalogue, method: &str) -> String {
        catalogue.messages_for(method).unwrap().request.full_name().to_owned()
    }

    #[test]
    fn the_demos_methods_are_known_by_route_and_by_rpc() {
        let demo = Catalogue::demo().unwrap();
        assert_eq!(request_of(&demo, "/v1/user/white/login"), "pb.LoginReq");
        assert_eq!(request_of(&demo, "/pb.userService/Login"), "pb.LoginReq");
        assert_eq!(request_of(&demo, "/v1/conn/keepAlive"), "google.protobuf.Empty");
        assert!(demo.message("pb.MsgDataList").is_ok());
    }

    #[test]
    fn an_unknown_method_has_a_proposal() {
        let error = Catalogue::demo().unwrap().messages_for("/v1/user/login").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/v1/user/login` is not known; did you mean `/v1/user/white/login`?"
        );
    }

    #[test]
    fn the_steps_of_a_session_are_not_called() {
        let demo = Catalogue::demo().unwrap();
        for step in ["/v1/conn/white/setCxnParams", "/v1/conn/white/setUserParams"] {
            let error = demo.messages_for(step).unwrap_err().to_string();
            assert!(error.contains("this command takes by itself"), "{error}");
        }
    }

    #[test]
    fn an_unknown_message_has_a_proposal() {
        let demo = Catalogue::demo().unwrap();
        let error = |message| demo.message(message).unwrap_err().to_string();
        assert_eq!(
            error("pb.MsgDatalist"),
            "no message `pb.MsgDatalist` is known; did you mean `pb.MsgDataList`?"
        );
        assert_eq!(error("x"), "no message `x` is known");
    }

    #[test]
    fn files_describe_what_a_method_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.bin");
        std::fs::write(&file, demo::FILE_DESCRIPTOR_SET).unwrap();
        let mut catalogue = Catalogue::from_files(&[file]).unwrap();
        assert!(catalogue.messages_for("/v9/enter").is_err());
        catalogue.add("/v9/enter", "pb.userService/Login").unwrap();
        assert_eq!(request_of(&catalogue, "/v9/enter"), "pb.LoginReq");
        let error = catalogue.add("/v9/enter", "pb.userService/Logn").unwrap_err();
        assert!(error.to_string().contains("Login"), "{error}");
    }

    #[tokio::test]
    async fn a_gateway_names_methods_and_some_may_not_be_described() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("demo.bin"), demo::FILE_DESCRIPTOR_SET).unwrap();
        std::fs::write(folder.path().join("junk.bin"), "junk").unwrap();
        let text = "
auth: { none: {} }
edge: { listen: 127.0.0.1:0 }
upstreams:
  user:
    address: http://127.0.0.1:1
    descriptors: [demo.bin]
    routes: { /enter: pb.userService/Login, /typo: pb.userService/Logn }
  junk:
    address: http://127.0.0.1:1
    descriptors: [junk.bin]
    routes: { /junk: pb.userService/Login }
  down:
    address: http://127.0.0.1:1
    routes: { /other: pb.otherService/Do }
";
        let loaded = config::parse("routes.yaml", text, folder.path(), &|_| None).unwrap();
        let catalogue = Catalogue::of_gateway(&loaded.config).await;
        assert_eq!(request_of(&catalogue, "/enter"), "pb.LoginReq");
        let error = catalogue.messages_for("/other").unwrap_err();
        assert!(matches!(error, CatalogueError::Pending { .. }), "{error}");
        for (method, reason) in [("/typo", "did you mean `Login`?"), ("/junk", "junk.bin")] {
            let error = catalogue.messages_for(method).unwrap_err().to_string();
            assert!(error.contains("is configured, but not known"), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let catalogue = catalogue.or(Catalogue::demo().unwrap());
        assert_eq!(request_of(&catalogue, "/v1/user/white/login"), "pb.LoginReq");
        assert!(catalogue.message("pb.MsgDataList").is_ok());
    }
}
