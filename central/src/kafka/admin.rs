//! What rdkafka's own administration cannot do: topic ids, incremental settings, access rights.
//! The only file that names kafka-protocol: one connection, one request at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    CreateAclsRequest, CreateTopicsRequest, DescribeAclsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, MetadataRequest, RequestHeader, ResponseHeader, TopicName,
    create_acls_request::AclCreation,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    metadata_request::MetadataRequestTopic,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::KafkaConfig;
use crate::tls::{self, TlsError};

/// How long connecting or one answer may take.
const WAIT: Duration = Duration::from_secs(10);
/// Bytes that an answer may have: 100,000 access rights take about 10 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Kafka's number for "topic" as a resource of settings and of access rights.
const TOPIC: i8 = 2;
/// Kafka's number for "set" in an incremental change.
const SET: i8 = 0;
/// Kafka's number for "any" in a filter.
const ANY: i8 = 1;
/// Kafka's number for "allow".
const ALLOW: i8 = 3;

/// Why an administrative question got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The certificates cannot be used.
    #[error("cannot set up TLS to Kafka")]
    Tls(#[source] TlsError),
    /// No certificate of the administrator is configured.
    #[error("kafka.admin_certificate and kafka.admin_key are not set")]
    NoAdministrator,
    /// No broker can be reached.
    #[error("cannot reach {broker}")]
    Connect {
        /// The last one tried.
        broker: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke or stayed silent.
    #[error("the connection to Kafka broke while asking for {what}")]
    Broken {
        /// What was asked.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The answer makes no sense.
    #[error("cannot read Kafka's answer about {what}: {fault}")]
    Garbled {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// The broker refuses.
    #[error("Kafka refuses {what}: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// What it says.
        reason: String,
    },
}

/// A topic as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// The topic's id: a topic that is deleted and made anew has another one.
    pub id: String,
    /// How many partitions it has.
    pub partitions: usize,
}

/// A right that a principal has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Who, such as `User:central`.
    pub principal: String,
    /// What kind of thing.
    pub resource: Resource,
    /// Its name, or the start of it.
    pub name: String,
    /// Whether `name` is the whole name.
    pub pattern: Pattern,
    /// What may be done.
    pub operation: Operation,
}

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
}

/// How a right names things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// By the whole name.
    Literal,
    /// By the start of the name.
    Prefixed,
}

/// What a right allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To see that it is there.
    Describe,
}

impl Right {
    /// Kafka's numbers for resource, pattern and operation.
    fn numbers(&self) -> (i8, i8, i8) {
        let resource = match self.resource {
            Resource::Topic => TOPIC,
            Resource::Group => 3,
        };
        let pattern = match self.pattern {
            Pattern::Literal => 3,
            Pattern::Prefixed => 4,
        };
        let operation = match self.operation {
            Operation::Read => 3,
            Operation::Write => 4,
            Operation::Describe => 8,
        };
        (resource, pattern, operation)
    }

    fn from_numbers(principal: &str, name: &str, numbers: (i8, i8, i8)) -> Option<Self> {
        let resource = match numbers.0 {
            TOPIC => Resource::Topic,
            3 => Resource::Group,
            _ => return None,
        };
        let pattern = match numbers.1 {
            3 => Pattern::Literal,
            4 => Pattern::Prefixed,
            _ => return None,
        };
        let operation = match numbers.2 {
            3 => Operation::Read,
            4 => Operation::Write,
            8 => Operation::Describe,
            _ => return None,
        };
        let (principal, name) = (principal.to_owned(), name.to_owned());
        Some(Self { principal, resource, name, pattern, operation })
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let resource = match self.resource {
            Resource::Topic => "topic",
            Resource::Group => "group",
        };
        let operation = match self.operation {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Describe => "describe",
        };
        let star = if self.pattern == Pattern::Prefixed { "*" } else { "" };
        write!(out, "{} may {operation} {resource} {}{star}", self.principal, self.name)
    }
}

/// One connection to the cluster.
pub struct Admin {
    stream: TlsStream<TcpStream>,
    asked: i32,
}

impl Admin {
    /// Connects as ourselves, which is enough to ask for topic ids.
    pub async fn connect(config: &KafkaConfig) -> Result<Self, AdminError> {
        let tls = tls::mutual(&config.ca, &config.certificate, &config.key);
        Self::connect_with(&config.brokers, tls).await
    }

    /// Connects as the administrator.
    pub async fn connect_as_administrator(config: &KafkaConfig) -> Result<Self, AdminError> {
        let admin = config.admin.as_ref().ok_or(AdminError::NoAdministrator)?;
        let tls = tls::mutual(&config.ca, &admin.certificate, &admin.key);
        Self::connect_with(&config.admin_brokers, tls).await
    }

    async fn connect_with(
        brokers: &str,
        tls: Result<tls::ClientTls, TlsError>,
    ) -> Result<Self, AdminError> {
        let connector = TlsConnector::from(std::sync::Arc::new(tls.map_err(AdminError::Tls)?));
        let mut last = no_broker(brokers);
        for broker in brokers.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match timed(open(&connector, broker)).await {
                Ok(stream) => return Ok(Self { stream, asked: 0 }),
                Err(source) => last = AdminError::Connect { broker: broker.to_owned(), source },
            }
        }
        Err(last)
    }

    /// Returns what the cluster knows of these topics; one that is not there is left out.
    pub async fn topics(
        &mut self,
        names: &[String],
    ) -> Result<BTreeMap<String, TopicFacts>, AdminError> {
        let wanted = names
            .iter()
            .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))))
            .collect();
        let request = MetadataRequest::default()
            .with_topics(Some(wanted))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask("topics", &request, 12).await?;
        let mut facts = BTreeMap::new();
        for topic in answer.topics {
            let name = topic.name.map(|name| name.0.to_string()).unwrap_or_default();
            match ResponseError::try_from_code(topic.error_code) {
                None => {
                    let id = topic.topic_id.to_string();
                    facts.insert(name, TopicFacts { id, partitions: topic.partitions.len() });
                }
                Some(ResponseError::UnknownTopicOrPartition) => {}
                Some(error) => return Err(refused(format!("topic {name}"), &error.to_string())),
            }
        }
        Ok(facts)
    }

    /// Creates a topic.
    pub async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replicas: i16,
        settings: &[(&str, &str)],
    ) -> Result<(), AdminError> {
        let configs = settings
            .iter()
            .map(|(key, value)| {
                CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
            })
            .collect();
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas)
            .with_configs(configs);
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let answer = self.ask("new topics", &request, 7).await?;
        for topic in answer.topics {
            check(format!("to create topic {name}"), topic.error_code, topic.error_message)?;
        }
        Ok(())
    }

    /// Returns a topic's settings, also those that it inherits.
    pub async fn topic_settings(
        &mut self,
        name: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.ask("settings", &request, 4).await?;
        let mut settings = BTreeMap::new();
        for result in answer.results {
            check(format!("the settings of {name}"), result.error_code, result.error_message)?;
            for one in result.configs {
                settings.insert(one.name.to_string(), one.value.unwrap_or_default().to_string());
            }
        }
        Ok(settings)
    }

    /// Changes some of a topic's settings and leaves the others as they are.
    pub async fn set_topic_settings(
        &mut self,
        name: &str,
        settings: &[(&str, &str)],
    ) -> Result<(), AdminError> {
        let configs = settings
            .iter()
            .map(|(key, value)| {
                AlterableConfig::default()
                    .with_name(text(key))
                    .with_config_operation(SET)
                    .with_value(Some(text(value)))
            })
            .collect();
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name))
            .with_configs(configs);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.ask("new settings", &request, 1).await?;
        for one in answer.responses {
            check(format!("new settings of {name}"), one.error_code, one.error_message)?;
        }
        Ok(())
    }

    /// Returns every right that the cluster knows, as far as it is one of ours.
    pub async fn rights(&mut self) -> Result<BTreeSet<Right>, AdminError> {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(ANY)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(ANY)
            .with_permission_type(ALLOW);
        let answer = self.ask("rights", &request, 3).await?;
        check("the rights".to_owned(), answer.error_code, answer.error_message)?;
        let mut rights = BTreeSet::new();
        for resource in &answer.resources {
            for acl in resource.acls.iter().filter(|acl| acl.host.as_str() == "*") {
                let kind = (resource.resource_type, resource.pattern_type, acl.operation);
                rights.extend(Right::from_numbers(&acl.principal, &resource.resource_name, kind));
            }
        }
        Ok(rights)
    }

    /// Grants rights. One that is there already stays.
    pub async fn grant(&mut self, rights: &[Right]) -> Result<(), AdminError> {
        let creations = rights
            .iter()
            .map(|right| {
                let (resource, pattern, operation) = right.numbers();
                AclCreation::default()
                    .with_resource_type(resource)
                    .with_resource_name(text(&right.name))
                    .with_resource_pattern_type(pattern)
                    .with_principal(text(&right.principal))
                    .with_host(text("*"))
                    .with_operation(operation)
                    .with_permission_type(ALLOW)
            })
            .collect();
        let request = CreateAclsRequest::default().with_creations(creations);
        let answer = self.ask("new rights", &request, 3).await?;
        for (right, result) in rights.iter().zip(answer.results) {
            check(format!("that {right}"), result.error_code, result.error_message)?;
        }
        Ok(())
    }

    /// Sends one request and reads its answer.
    async fn ask<R: Request>(
        &mut self,
        what: &'static str,
        request: &R,
        version: i16,
    ) -> Result<R::Response, AdminError> {
        let garbled = |fault: String| AdminError::Garbled { what, fault };
        self.asked += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.asked)
            .with_client_id(Some(text("central")));
        let mut frame = BytesMut::new();
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|fault| garbled(fault.to_string()))?;
        let mut answer = timed(exchange(&mut self.stream, &frame))
            .await
            .map_err(|source| AdminError::Broken { what, source })?;
        let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|fault| garbled(fault.to_string()))?;
        if header.correlation_id != self.asked {
            return Err(garbled("it answers another question".to_owned()));
        }
        R::Response::decode(&mut answer, version).map_err(|fault| garbled(fault.to_string()))
    }
}

async fn open(connector: &TlsConnector, broker: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host).to_owned();
    let name = host.try_into().map_err(std::io::Error::other)?;
    connector.connect(name, TcpStream::connect(broker).await?).await
}

async fn exchange(stream: &mut TlsStream<TcpStream>, frame: &[u8]) -> std::io::Result<Bytes> {
    let length = u32::try_from(frame.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(frame).await?;
    stream.flush().await?;
    let length = stream.read_u32().await? as usize;
    if length > ANSWER_BYTES_MAX {
        return Err(std::io::Error::other(format!("an answer of {length} bytes")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer.into())
}

async fn timed<T>(work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    tokio::time::timeout(WAIT, work).await.map_err(late)?
}

fn no_broker(brokers: &str) -> AdminError {
    let source = std::io::Error::from(std::io::ErrorKind::InvalidInput);
    AdminError::Connect { broker: brokers.to_owned(), source }
}

fn refused(what: String, reason: &str) -> AdminError {
    AdminError::Refused { what, reason: reason.to_owned() }
}

/// Turns Kafka's error code into a result.
fn check(what: String, code: i16, message: Option<StrBytes>) -> Result<(), AdminError> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => {
            let said = message.map(|text| format!(" ({})", text.as_str())).unwrap_or_default();
            Err(refused(what, &format!("{error}{said}")))
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
