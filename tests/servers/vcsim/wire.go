package main

import (
	"bytes"
	"reflect"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

type soapEnvelope struct {
	XMLName xml.Name    `xml:"soapenv:Envelope"`
	Env     string      `xml:"xmlns:soapenv,attr"`
	XSD     string      `xml:"xmlns:xsd,attr"`
	XSI     string      `xml:"xmlns:xsi,attr"`
	Body    interface{} `xml:"soapenv:Body"`
}

type detail struct{ Fault types.AnyType }

// MarshalXML names the element after the fault's type, as pyvmomi wants it.
func (d *detail) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	kind := reflect.TypeOf(d.Fault).Elem().Name()
	start.Name.Local = kind + "Fault"
	start.Attr = append(start.Attr,
		xml.Attr{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
		xml.Attr{Name: xml.Name{Local: "xsi:type"}, Value: kind})
	return e.EncodeElement(d.Fault, start)
}

type soapFault struct {
	XMLName xml.Name `xml:"soapenv:Fault"`
	Code    string   `xml:"faultcode"`
	String  string   `xml:"faultstring"`
	Detail  struct {
		Fault *detail
	} `xml:"detail"`
}

func faultBody(fault *soap.Fault) interface{} {
	made := &soapFault{Code: fault.Code, String: fault.String}
	made.Detail.Fault = &detail{fault.Detail.Fault}
	return struct{ Fault *soapFault }{made}
}

// started is the answer of every method that starts a task.
type started struct {
	method string
	task   types.ManagedObjectReference
}

func (s *started) Fault() *soap.Fault { return nil }

// MarshalXML puts the answer into the name space that the request had.
func (s *started) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	return e.EncodeElement(struct {
		Returnval types.ManagedObjectReference `xml:"returnval"`
	}{s.task}, named(s.method+"Response"))
}

// done is the answer of a method that returns nothing.
type done struct{ method string }

func (d *done) Fault() *soap.Fault { return nil }

func (d *done) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	return e.EncodeElement(struct{}{}, named(d.method+"Response"))
}

func named(local string) xml.StartElement {
	return xml.StartElement{Name: xml.Name{Space: "urn:vim25", Local: local}}
}

// content wraps what stands in the body, so that the body's own element stays.
type content struct{ Inner interface{} }

func (c *content) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if err := e.Encode(c.Inner); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

func envelope(body interface{}) []byte {
	if _, ok := body.(soap.HasFault); ok {
		body = &content{body}
	}
	var out bytes.Buffer
	out.WriteString(xml.Header)
	encoder := xml.NewEncoder(&out)
	check(encoder.Encode(&soapEnvelope{
		Env:  "http://schemas.xmlsoap.org/soap/envelope/",
		XSD:  "http://www.w3.org/2001/XMLSchema",
		XSI:  "http://www.w3.org/2001/XMLSchema-instance",
		Body: body,
	}))
	check(encoder.Flush())
	return out.Bytes()
}
