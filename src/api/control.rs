//! The control API's requests: what blocks goes to the pool, the rest is answered at once.

use std::sync::Arc;

use super::error::AwsError;
use super::functions::{self, ListQuery};
use super::{Api, answer, query};
use crate::access::Surface;
use crate::function::name::Place;
use crate::http::{Head, Request, Responder, Response};

impl Api {
    pub(super) fn create_function(self: &Arc<Self>, request: Request<'_>, responder: Responder) {
        let api = self.clone();
        let region = self.region(&request.head).to_owned();
        let body = request.body;
        self.block(responder, move |responder| {
            let context = api.context(&region);
            let created = functions::create_function(&body, &context).and_then(|function| {
                let function = api.registry.create(function)?;
                let answer = functions::created(&function, &context)?;
                // Here, before the answer: with a local image the function is Active at once.
                api.packages.prepare(&api.registry, &function);
                Ok(answer)
            });
            responder.send(reply(201, created));
        });
    }

    pub(super) fn get_function(&self, head: &Head<'_>, name: &str, responder: Responder) {
        let context = self.context(self.region(head));
        let qualifier = query::value(head.query, "Qualifier");
        let found = decoded(name).and_then(|name| {
            functions::get_function(&self.registry, &name, qualifier.as_deref(), &context)
        });
        responder.send(reply(200, found));
    }

    pub(super) fn list_functions(&self, head: &Head<'_>, responder: Responder) {
        let value = |name| query::value(head.query, name);
        let (marker, max_items) = (value("Marker"), value("MaxItems"));
        let (version, master_region) = (value("FunctionVersion"), value("MasterRegion"));
        let list = ListQuery {
            marker: marker.as_deref(),
            max_items: max_items.as_deref(),
            function_version: version.as_deref(),
            master_region: master_region.as_deref(),
        };
        let context = self.context(self.region(head));
        responder.send(reply(200, functions::list_functions(&self.registry, &list, &context)));
    }

    pub(super) fn delete_function(
        self: &Arc<Self>,
        head: &Head<'_>,
        name: &str,
        responder: Responder,
    ) {
        let api = self.clone();
        let region = self.region(head).to_owned();
        let qualifier = query::value(head.query, "Qualifier").map(|text| text.into_owned());
        let name = match decoded(name) {
            Ok(name) => name,
            Err(error) => {
                responder.send(answer::error(Surface::Control, &error));
                return;
            }
        };
        self.block(responder, move |responder| {
            let context = api.context(&region);
            let qualifier = qualifier.as_deref();
            match functions::delete_function(&api.registry, &name, qualifier, &context) {
                Ok(function) => {
                    let Place { region, .. } = context.place;
                    log::info!("function {} of {region} is deleted", function.name);
                    api.dispatcher.retire(&function.key());
                    responder.send(identified(Response::new(204)));
                }
                Err(error) => {
                    responder.send(answer::error(Surface::Control, &error));
                }
            }
        });
    }
}

fn decoded(name: &str) -> Result<String, AwsError> {
    let not_utf8 =
        || AwsError::new(400, "ValidationException", "The function's name is not UTF-8.");
    query::decode(name).map(|name| name.into_owned()).ok_or_else(not_utf8)
}

fn reply(status: u16, result: Result<String, AwsError>) -> Response {
    match result {
        Ok(body) => identified(Response::json(status, body)),
        Err(error) => answer::error(Surface::Control, &error),
    }
}

fn identified(response: Response) -> Response {
    response.header("x-amzn-RequestId", &crate::random::uuid().to_string())
}
